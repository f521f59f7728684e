// The page of the stand-in: a timeline of thumbnails, a viewer, uploads, and the live channel.

const find = (id) => document.getElementById(id);
const assetUrl = (id, rest) => `/api/assets/${id}/${rest}`;
let known = [];

async function readJson(url, options) {
  const answer = await fetch(url, options);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return answer.json();
}

async function showTimeline() {
  const buckets = await readJson("/api/timeline/buckets?visibility=timeline");
  const months = await Promise.all(buckets.map((bucket) =>
    readJson(`/api/timeline/bucket?timeBucket=${bucket.timeBucket}`)));
  known = months.flatMap((month) => month.id);
  find("timeline").replaceChildren(...months.flatMap((month, i) => drawMonth(buckets[i].timeBucket, month)));
}

function drawMonth(bucket, month) {
  const title = document.createElement("h2");
  title.textContent = new Date(`${bucket}T12:00`).toLocaleDateString([], { month: "long", year: "numeric" });
  const row = document.createElement("div");
  row.className = "month";
  row.append(...month.id.map((id, i) => drawThumbnail(id, month.originalFileName[i], month.isImage[i])));
  return [title, row];
}

function drawThumbnail(id, name, isImage) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = isImage ? "" : "film";
  const image = document.createElement("img");
  image.loading = "lazy";
  image.alt = name;
  image.src = assetUrl(id, "thumbnail?size=thumbnail");
  button.append(image);
  button.onclick = () => openViewer(id, isImage);
  return button;
}

function openViewer(id, isImage) {
  const shown = document.createElement(isImage ? "img" : "video");
  shown.src = assetUrl(id, isImage ? "thumbnail?size=preview" : "video/playback");
  if (!isImage) Object.assign(shown, { controls: true, autoplay: true, loop: true, muted: true });
  find("viewer").append(shown);
  find("viewer").showModal();
}

find("close").onclick = () => find("viewer").close();
find("viewer").onclose = () => find("viewer").querySelector("img, video")?.remove();

async function upload(files) {
  let done = 0;
  for (const file of files) {
    find("progress").textContent = `Uploading ${file.name} (${done + 1} of ${files.length})`;
    const form = new FormData();
    form.append("deviceAssetId", `${file.name}-${file.lastModified}`);
    form.append("deviceId", "WEB");
    form.append("fileCreatedAt", new Date(file.lastModified).toISOString());
    form.append("assetData", file);
    await readJson("/api/assets", { method: "POST", body: form });
    done += 1;
  }
  find("progress").textContent = `${done} uploaded`;
}

const report = (error) => { find("progress").textContent = `That did not work: ${error.message}`; };
find("files").onchange = (event) => upload([...event.target.files]).catch(report);
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  upload([...event.dataTransfer.files]).catch(report);
};

find("zip").onclick = async () => {
  const answer = await fetch("/api/download/archive", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ assetIds: known }),
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = "immich.zip";
  link.click();
  URL.revokeObjectURL(link.href);
};

function listen() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/api/socket.io/?EIO=4&transport=websocket`);
  socket.onmessage = ({ data }) => {
    if (data.startsWith("0")) socket.send("40");
    else if (data === "2") socket.send("3");
    else if (data.startsWith("42")) onEvent(...JSON.parse(data.slice(2)));
  };
  socket.onclose = () => {
    showServer("Server offline", true);
    setTimeout(listen, 2000);
  };
}

function onEvent(name, value) {
  if (name === "on_server_version") showServer(`Server online · ${value.major}.${value.minor}.${value.patch}`, false);
  if (name === "on_upload_success" || name === "on_asset_delete") showTimeline().catch(report);
}

function showServer(text, isOffline) {
  find("server").textContent = text;
  find("server").classList.toggle("offline", isOffline);
}

async function showWay() {
  const { peer, fields } = await readJson("/api/server/request");
  const rows = [["in the browser", location.origin], ["connection from", peer], ...Object.entries(fields)];
  find("way").replaceChildren(...rows.flatMap(([name, value]) => {
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}

listen();
showTimeline().catch(report);
showWay().catch(report);
