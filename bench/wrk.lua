-- With an argument N, each request is for one of N hosts.
function init(args)
  local hosts = tonumber(args[1])
  if hosts then
    request = function()
      wrk.headers["Host"] = "s" .. math.random(hosts) .. ".example"
      return wrk.format()
    end
  end
end

-- Prints what wrk counted as one line the harness can read.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("COUNTED requests=%d bytes=%d microseconds=%d errors=%d\n", summary.requests, summary.bytes,
    summary.duration, e.connect + e.read + e.write + e.status + e.timeout))
end
