// Pays the text of an invoice with a client that was generated from /api/v1/openapi.json, and prints what came of it.
// node pay.js URL NODE TEXT, with the token in the environment variable TOKEN.

import createClient from "openapi-fetch";

import type { components, paths } from "./api.js";

type Payment = components["schemas"]["PaymentReport"];

const [url, node, text] = process.argv.slice(2);
if (url === undefined || node === undefined || text === undefined) {
  throw new Error("usage: node pay.js URL NODE TEXT");
}
const api = createClient<paths>({
  baseUrl: url,
  headers: { Authorization: `Bearer ${process.env["TOKEN"]}` },
});

const { data: plan, error: why } = await api.POST("/api/v1/nodes/{node}/payments/plan", {
  params: { path: { node } },
  body: { text, fees_max: "5" },
});
if (plan === undefined) {
  throw new Error(`${why.title}: ${why.detail}`);
}

const { data: begun, error } = await api.POST("/api/v1/nodes/{node}/payments", {
  params: { path: { node }, query: { wait: 30 }, header: { "Idempotency-Key": `pay ${text.slice(-12)}` } },
  body: { text, fees_max: plan.fees },
});
if (begun === undefined) {
  throw new Error(`${error.title}: ${error.detail}`);
}

let payment: Payment = begun;
while (payment.state === "sending" || payment.state === "committed") {
  const { data: next, error: problem } = await api.GET("/api/v1/nodes/{node}/payments/{payment_id}", {
    params: { path: { node, payment_id: payment.payment_id }, query: { wait: 30, wait_for: "end" } },
  });
  if (next === undefined) {
    throw new Error(`${problem.title}: ${problem.detail}`);
  }
  payment = next;
}
console.log(JSON.stringify({ state: payment.state, fees: payment.fees, receipt: payment.receipt }));
