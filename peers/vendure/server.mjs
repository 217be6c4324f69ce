// A real Vendure on loopback, in memory, with the seeded coffee roastery.
//
// Prints one JSON line on stdout once it is seeded and searchable:
//   {"ready":true,"pid":…,"port":…,"shop_api":"http://…","admin_api":"http://…","products":…,"variants":…}
// Everything else goes to stderr. SIGTERM and SIGINT end it with exit code 0.
//
// Environment:
//   PORT                           0 (default) lets the system choose
//   VENDURE_SUPERADMIN_USERNAME    default "superadmin"
//   VENDURE_SUPERADMIN_PASSWORD    default "local-test-only"
//   LEGATO_EXIT_WITH_PARENT=1      end when stdin closes, so that a killed parent leaves no server behind
process.env.VENDURE_DISABLE_TELEMETRY = "true";
process.env.NODE_ENV ??= "production"; // otherwise errors carry stack traces to the client

const started = performance.now();
const { default: core } = await import("@vendure/core");
const { seed } = await import("./seed.mjs");

const { bootstrap, ConfigService, DefaultSearchPlugin, dummyPaymentHandler, JobQueueService } = core;

const hostname = "127.0.0.1";
const superadmin = {
  identifier: process.env.VENDURE_SUPERADMIN_USERNAME ?? "superadmin",
  password: process.env.VENDURE_SUPERADMIN_PASSWORD ?? "local-test-only",
};
const complain = (level) => (message, context) => console.error(`[${level}] ${context ?? ""} ${message}`);
const silent = () => {};

const app = await bootstrap({
  apiOptions: { hostname, port: Number(process.env.PORT ?? 0), cors: false },
  authOptions: { tokenMethod: "bearer", superadminCredentials: superadmin },
  dbConnectionOptions: { type: "sqljs", synchronize: true, autoSave: false },
  // Vendure has no note on an order, and knows no other system's id of it: fields that an installation adds.
  customFields: {
    Order: [
      { name: "note", type: "text", public: true, nullable: true },
      { name: "cartId", type: "string", public: true, nullable: true },
    ],
  },
  paymentOptions: { paymentMethodHandlers: [dummyPaymentHandler] },
  plugins: [DefaultSearchPlugin.init({ bufferUpdates: false, indexStockStatus: true })],
  logger: { error: complain("error"), warn: complain("warn"), info: silent, verbose: silent, debug: silent },
});

let ending = false;
async function end() {
  if (ending) return;
  ending = true;
  await app.close();
  process.exit(0);
}
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.removeAllListeners(signal); // Nest's own handler ends the process by the signal, not with 0
  process.on(signal, end);
}
if (process.env.LEGATO_EXIT_WITH_PARENT === "1") {
  process.stdin.on("end", end).resume();
}

app.get(ConfigService).jobQueueOptions.jobQueueStrategy.pollInterval = 20; // ms, waited after each job: the usual 200 seed for 20 s
await app.get(JobQueueService).start();
const seeded = await seed(app, superadmin.identifier);
const { port } = app.getHttpServer().address();
const base = `http://${hostname}:${port}`;
console.log(JSON.stringify({
  ready: true,
  pid: process.pid,
  port,
  shop_api: `${base}/shop-api`,
  admin_api: `${base}/admin-api`,
  ...seeded,
  started_ms: Math.round(performance.now() - started),
}));
