// uWebSockets, as Bun has it: topics, and `publish` to one of them. No
// protocol: what is published is the message.

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  async fetch(request, server) {
    const { pathname } = new URL(request.url);
    if (request.method === "POST") {
      server.publish(pathname.slice("/publish/".length), await request.text());
      return new Response("ok");
    }
    if (server.upgrade(request, { data: pathname.slice(1) })) return;
    return new Response("a WebSocket is wanted", { status: 400 });
  },
  websocket: {
    open(socket) {
      if (socket.data) socket.subscribe(socket.data);
    },
    message() {},
  },
});

const url = `http://127.0.0.1:${server.port}`;
console.log(`client ${url}\napi ${url}`);
