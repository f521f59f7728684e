-- Prints what wrk counted as one line the harness can read.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("COUNTED requests=%d bytes=%d microseconds=%d errors=%d\n", summary.requests, summary.bytes,
    summary.duration, e.connect + e.read + e.write + e.status + e.timeout))
end
