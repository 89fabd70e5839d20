import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { TestPostgres } from "../lib/postgres.ts";

/** An order that the server has confirmed, with the time of its commit record in microseconds since 1970. */
export interface Order {
  readonly id: number;
  readonly cents: number;
  readonly committedMicros: bigint;
}

/** A shop that takes orders all the time and remembers each one that was confirmed. */
export interface Shop {
  readonly orders: readonly Order[];
  /** Somebody forgets the WHERE; returns when that was committed. */
  deleteAllOrders(): Promise<{ readonly rows: number; readonly committedMicros: bigint }>;
  /** No more orders; resolves when the last one is confirmed or the server is dead. */
  close(): Promise<void>;
}

const PAUSE_MS = 5;

const COMMITTED = `SELECT (extract(epoch FROM pg_xact_commit_timestamp($1::xid)) * 1000000)::bigint AS micros`;

/** Makes the table with some history and opens the shop. The server needs `track_commit_timestamp`. */
export async function openShop(server: TestPostgres): Promise<Shop> {
  await server.query(`CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    cents integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp())`);
  await server.query(`CREATE TABLE events AS
    SELECT n AS id, md5(n::text) AS payload, now() - n * interval '1 second' AS at FROM generate_series(1, 200000) n`);
  const client = await server.client();
  const orders: Order[] = [];
  let open = true;

  async function takeOrders(): Promise<void> {
    while (open) {
      try {
        orders.push(await takeOrder(client));
      } catch {
        // The server is gone: what it had not confirmed was never an order.
        return;
      }
      await sleep(PAUSE_MS);
    }
  }

  const taking = takeOrders();
  return {
    orders,
    async deleteAllOrders() {
      const deleting = await server.client();
      try {
        await deleting.query("BEGIN");
        // Without the lock, an order that is placed meanwhile would survive.
        await deleting.query("LOCK TABLE orders IN EXCLUSIVE MODE");
        const { rowCount } = await deleting.query("DELETE FROM orders");
        const { rows } = await deleting.query<{ xid: string }>("SELECT pg_current_xact_id()::text AS xid");
        await deleting.query("COMMIT");
        const micros = await commitMicros(deleting, rows[0]?.xid ?? "");
        return { rows: rowCount ?? 0, committedMicros: micros };
      } finally {
        await deleting.end();
      }
    },
    async close() {
      open = false;
      await taking;
      await client.end().catch(() => undefined);
    },
  };
}

async function takeOrder(client: pg.Client): Promise<Order> {
  const cents = Math.ceil(Math.random() * 100_000);
  const { rows } = await client.query<{ id: string; xid: string }>(
    "INSERT INTO orders (customer, cents) VALUES (md5(random()::text), $1) RETURNING id, pg_current_xact_id()::text AS xid",
    [cents],
  );
  const row = rows[0];
  if (row === undefined) throw new Error("The server confirmed no order.");
  return { id: Number(row.id), cents, committedMicros: await commitMicros(client, row.xid) };
}

async function commitMicros(client: pg.Client, xid: string): Promise<bigint> {
  const { rows } = await client.query<{ micros: string }>(COMMITTED, [xid]);
  return BigInt(rows[0]?.micros ?? 0);
}
