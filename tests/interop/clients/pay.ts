// The README's first payment by a client whose types openapi-typescript made. That it compiles, strictly, is half of the
// test: each `@ts-expect-error` is an error itself where the types have come to allow everything.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { argv: string[] };

type Schemas = components["schemas"];

function expect(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

const baseUrl = process.argv[2] ?? "";
const as = (role: string) => createClient<paths>({ baseUrl, headers: { Authorization: `Bearer sandbox-${role}` } });
const [wallet, register, office] = [as("wallet"), as("register"), as("office")];

const customer = { identity: "verified", birth_date: "1990-04-01", limits: null } satisfies Schemas["CustomerChange"];
const put = await office.PUT("/v1/customers/{customer_id}", { params: { path: { customer_id: "ts-1" } }, body: customer });
expect(put.data?.blocked_by === null && put.data.minor === false, "a customer who may pay");
const cleared = await office.PUT("/v1/customers/{customer_id}", {
  params: { path: { customer_id: "ts-1" } },
  body: { birth_date: null, guardian_consent: true },
});
expect(cleared.data?.birth_date === null && cleared.data.minor, "without a birth date, a minor");

const code = await wallet.POST("/v1/codes", { body: { customer_id: "ts-1" } });
expect(code.data !== undefined, "a code");

// What may be left out is left out; a line of the receipt may be below zero or have a fraction.
const purchase: Schemas["Purchase"] = {
  order_id: "TS-1",
  code: code.data.barcode,
  channel: "in_store",
  amount: 1500,
  merchant: { id: "mrc_konbini" },
  items: [{ name: "米", quantity: 1.5, unit_price: 1100 }, { name: "値引", unit_price: -150 }],
};
// @ts-expect-error the amount is missing
const without: Schemas["Purchase"] = { order_id: "TS-1", merchant: { id: "mrc_konbini" } };
// @ts-expect-error it is a number
const asText: Schemas["Purchase"] = { ...purchase, amount: "1500" };
// @ts-expect-error there is no such channel
const elsewhere: Schemas["Purchase"] = { ...purchase, channel: "by_post" };
expect([without, asText, elsewhere].length === 3, "they are no purchases");

const paid = await register.POST("/v1/authorizations", { body: purchase });
expect(paid.data !== undefined, "a decision");
const decision: "approved" | "denied" = paid.data.decision;
expect(decision === "approved" && paid.data.status === "captured", "approved");
expect(paid.data.approval_code?.length === 6 && paid.data.statement !== null, "with an approval code, on a bill");
expect((paid.response.headers.get("server-timing") ?? "").includes("journal;dur="), "where the time went");

// Each problem by its reason, with the members of that reason.
const other = await register.POST("/v1/authorizations", { body: { ...purchase, amount: 1501 } });
expect(other.error?.reason === "order_id_reused", "the same order id with another amount");
const first: string | undefined = other.error.authorization_id;
expect(first === paid.data.authorization_id, "the problem names the first decision");
const wrong = await register.POST("/v1/authorizations", { body: { ...purchase, order_id: "TS-2", customer_id: "ts-1" } });
expect(wrong.error?.reason === "invalid_field" && wrong.error.errors?.[0]?.pointer === "/customer_id", "not both");

const path = { authorization_id: paid.data.authorization_id };
const over = await register.POST("/v1/authorizations/{authorization_id}/refunds", {
  params: { path },
  body: { refund_id: "TS-F1", amount: 1501 },
});
expect(over.error?.reason === "over_refundable", "more than was paid");
const left: number = over.error.refundable_left;
expect(left === 1500, "the problem says what is left");

const undone = await register.POST("/v1/cancellations", { body: { merchant_id: "mrc_konbini", order_id: "TS-1" } });
expect(undone.data?.action === "reversed", "cancelled");
const looked = await register.GET("/v1/authorizations", {
  params: { query: { merchant_id: "mrc_konbini", order_id: "TS-1" } },
});
expect(looked.data?.status === "cancelled" && looked.data.captured_amount === 0, "the truth is there");
console.log("openapi-typescript: paid, refused, cancelled and looked up");
