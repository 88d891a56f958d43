import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { hostname } from "node:os";
import { ports } from "./task-ports.ts";

// What a task of the tests does: it answers requests, echoes lines after it has said its name, and says that to who sends datagrams.

const name = `${hostname()}\n`;
createServer((socket) => {
  socket.on("error", () => {});
  socket.once("data", () => socket.end(`HTTP/1.0 200 OK\r\n\r\n${name}`));
}).listen(ports.requests);
createServer((socket) => {
  socket.on("error", () => {});
  socket.write(name);
  socket.pipe(socket);
}).listen(ports.echo);
const socket = createSocket("udp4");
socket.on("message", (_, from) => socket.send(name, from.port, from.address));
socket.bind(ports.echo);
