// An emulator of commercetools on loopback, in memory, with the seeded bicycle shop.
//
// Prints one JSON line on stdout once it is seeded:
//   {"ready":true,"pid":…,"port":…,"url":"http://…","projects":[…]}
// Everything else goes to stderr. SIGTERM and SIGINT end it with exit code 0.
//
// Environment:
//   PORT                       0 (default) lets the system choose
//   PROJECTS                   keys of projects with the same shop, default "legato"
//   LEGATO_EXIT_WITH_PARENT=1  end when stdin closes, so that a killed parent leaves no server behind
import { CommercetoolsMock } from "@labdigital/commercetools-mock";

import { seed } from "./seed.mjs";

const projects = (process.env.PROJECTS ?? "legato").split(",");
const mock = new CommercetoolsMock({
  strict: true, silent: true, enableAuthentication: true, validateCredentials: true,
});
let ending = false;
async function end() {
  if (ending) return;
  ending = true;
  await mock.app.close();
  process.exit(0);
}
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, end);
if (process.env.LEGATO_EXIT_WITH_PARENT === "1") process.stdin.on("end", end).resume();

// runServer() binds 0.0.0.0, so the Fastify app listens by itself.
await mock.app.listen({ host: "127.0.0.1", port: Number(process.env.PORT ?? 0) });
const { port } = mock.app.server.address();
const url = `http://127.0.0.1:${port}`;
const answer = await fetch(`${url}/oauth/token`, {
  method: "POST",
  headers: {
    authorization: `Basic ${Buffer.from("seed:seed").toString("base64")}`,
    "content-type": "application/x-www-form-urlencoded",
  },
  body: "grant_type=client_credentials",
});
const { access_token: token } = await answer.json();
for (const project of projects) await seed(url, project, { authorization: `Bearer ${token}` });
console.log(JSON.stringify({ ready: true, pid: process.pid, port, url, projects }));
