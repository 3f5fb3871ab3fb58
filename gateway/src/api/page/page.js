// The page's behaviour. Whatever comes from the network is shown as text,
// never as markup.

const $ = (id) => document.getElementById(id);
const clientPort = document.querySelector('meta[name="client-port"]').content;
const socketUrl = `${location.protocol === "https:" ? "wss" : "ws"}://${location.hostname}:${clientPort}/ws`;

// Entries kept in the list; older ones leave it.
const MAX_EVENTS = 200;

let key = "";

// === the gateway's state ===

async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  return fetch(path, { ...options, headers });
}

function duration(seconds) {
  const days = Math.floor(seconds / 86400);
  const hours = Math.floor(seconds / 3600) % 24;
  const minutes = Math.floor(seconds / 60) % 60;
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes) return `${minutes} min`;
  return `${seconds} s`;
}

async function showState() {
  const show = (kind, words) => {
    $("dot").className = `dot ${kind}`;
    $("state").textContent = words;
  };
  try {
    const response = await call("/v1/gateways");
    $("key-form").hidden = response.status !== 401;
    if (response.status === 401) return show("good", "alive, asks for an API key");
    const answer = await response.json();
    if (!response.ok) return show("good", `alive: ${answer.detail}`);
    const gateway = answer.gateways[0];
    $("version").textContent = gateway.version;
    $("connections").textContent = gateway.connections.toLocaleString("en");
    $("uptime").textContent = duration(gateway.uptime);
    show(gateway.draining ? "" : "good", gateway.draining ? "draining" : "alive");
  } catch {
    show("bad", "no answer");
  }
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  showState();
});

// === publishing ===

function publication() {
  return { channel: $("pub-channel").value, event: $("event").value };
}

// The data goes out as it was typed: parsing and writing it again would
// change large numbers.
function body() {
  const { channel, event } = publication();
  return `{"channel": ${JSON.stringify(channel)}, "event": ${JSON.stringify(event)}, "data": ${$("data").value.trim() || "null"}}`;
}

function showCurl() {
  const quoted = body().replaceAll("'", `'\\''`);
  const auth = key ? ` \\\n  -H 'Authorization: Bearer …'` : "";
  $("curl").textContent =
    `curl ${location.origin}/v1/publish${auth} \\\n  -H 'Content-Type: application/json' \\\n  -d '${quoted}'`;
}

$("publish").addEventListener("input", showCurl);
$("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  const show = (kind, words) => {
    $("pub-state").className = `hint ${kind}`;
    $("pub-state").textContent = words;
  };
  try {
    const response = await call("/v1/publish", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: body(),
    });
    const answer = await response.json();
    if (response.ok) {
      show("good", answer.offset ? `published, offset ${answer.offset}` : "published");
    } else {
      if (response.status === 401) $("key-form").hidden = false;
      show("bad", answer.detail);
    }
  } catch {
    show("bad", "no answer from the gateway");
  }
});

// === subscribing ===

let socket = null;
let retry = null;

function add(kind, time, head, text) {
  const row = document.createElement("li");
  row.className = `event ${kind}`;
  for (const [tag, words] of [["time", time], ["b", head], ["span", text]]) {
    if (!words) continue;
    const part = document.createElement(tag);
    part.textContent = words;
    row.append(part);
  }
  $("events").prepend(row);
  while ($("events").children.length > MAX_EVENTS) $("events").lastChild.remove();
  $("nothing").hidden = true;
}

const now = () => new Date().toLocaleTimeString("en-GB");

function connect(channel, token, since) {
  const show = (kind, words) => {
    $("sub-state").className = `hint ${kind}`;
    $("sub-state").textContent = words;
  };
  clearTimeout(retry);
  if (socket) socket.onclose = socket.onmessage = null;
  socket?.close();
  show("", "connecting …");
  let offset = since;
  let refused = false;
  const mine = new WebSocket(socketUrl);
  socket = mine;
  mine.onopen = () => {
    if (token) mine.send(JSON.stringify({ connect: { token } }));
    const subscribe = offset ? { channel, since: offset } : { channel };
    mine.send(JSON.stringify({ id: 1, subscribe }));
  };
  mine.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.offset) offset = message.offset;
    if (message.error) {
      refused = !message.error.retry;
      show("bad", message.error.message);
      if (refused) mine.close();
    } else if (message.id === 1 && message.ok) {
      offset = message.ok.offset ?? offset;
      show("good", `subscribed to ${channel}`);
      if (since && message.ok.recovered === false) {
        add("notice", now(), "", "some publications in between are lost");
      }
    } else if (message.event !== undefined && message.channel !== undefined) {
      const what = message.args ?? message.data;
      add("", now(), `${message.channel}  ${message.event}`, JSON.stringify(what));
    }
  };
  mine.onclose = () => {
    if (refused) return;
    show("bad", `no connection to ${socketUrl}; trying again`);
    retry = setTimeout(() => connect(channel, token, offset), 2000);
  };
}

$("subscribe").addEventListener("submit", (event) => {
  event.preventDefault();
  connect($("sub-channel").value, $("token").value.trim());
});

$("clear").addEventListener("click", () => {
  $("events").replaceChildren();
  $("nothing").hidden = false;
});

showCurl();
showState();
setInterval(showState, 5000);
