// The reference server: clients join rooms, an HTTP endpoint beside it emits
// to one of them.

import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer((request, response) => {
  const room = request.url.slice("/publish/".length);
  let data = "";
  request.setEncoding("utf8");
  request.on("data", (chunk) => (data += chunk));
  request.on("end", () => {
    io.to(room).emit("m", data);
    response.end("ok");
  });
});

const io = new Server(http);
io.on("connection", (socket) => {
  socket.on("join", (room, done) => {
    socket.join(room);
    done();
  });
});

http.listen(0, "127.0.0.1", 4096, () => {
  const url = `http://127.0.0.1:${http.address().port}`;
  console.log(`client ${url}\napi ${url}`);
});
