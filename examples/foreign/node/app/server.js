// An ordinary Node HTTP server; nothing in it knows opsbook.
const http = require("node:http");

const server = http.createServer((request, response) => {
  response.end("Node version 1\n");
});
server.listen(Number(process.env.PORT), "127.0.0.1");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
