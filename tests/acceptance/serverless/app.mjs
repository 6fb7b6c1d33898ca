// A notes application on Drizzle. `node app.mjs http|websocket HOST:PORT URI`: runs its steps and prints what came of each.
import { Pool, neon, neonConfig } from '@neondatabase/serverless';
import { drizzle as overHttp } from 'drizzle-orm/neon-http';
import { drizzle as overWebSocket } from 'drizzle-orm/neon-serverless';
import { eq, sql } from 'drizzle-orm';
import {
  boolean, customType, doublePrecision, integer, jsonb, numeric, pgTable, serial, text, timestamp, uuid,
} from 'drizzle-orm/pg-core';

const [driver, engine, uri] = process.argv.slice(2);
neonConfig.fetchEndpoint = () => `http://${engine}/sql`;
neonConfig.wsProxy = (host, port) => `${engine}/v2?address=${host}:${port}`;
neonConfig.useSecureWebSocket = false;
neonConfig.pipelineConnect = false;

const bytes = customType({ dataType: () => 'bytea' });
const notes = pgTable('notes', {
  id: serial('id').primaryKey(),
  tenant: text('tenant').notNull(),
  body: text('body').notNull().unique(),
});
const kinds = pgTable('kinds', {
  key: uuid('key').primaryKey(),
  fact: jsonb('fact'),
  words: text('words').array(),
  grid: integer('grid').array().array(),
  raw: bytes('raw'),
  price: numeric('price'),
  at: timestamp('at', { withTimezone: true }),
  flag: boolean('flag'),
  ratio: doublePrecision('ratio'),
  nothing: text('nothing'),
});

const pool = driver === 'websocket' ? new Pool({ connectionString: uri, max: 2 }) : null;
const db = driver === 'http' ? overHttp(neon(uri)) : overWebSocket(pool);

const told = (error) => {
  const cause = error.cause ?? error;
  return { code: cause.code ?? null, message: cause.message, severity: cause.severity ?? null,
    detail: cause.detail ?? null, constraint: cause.constraint ?? null, table: cause.table ?? null,
    position: cause.position ?? null };
};
const attempt = async (work) => { try { return { value: await work() }; } catch (error) { return { error: told(error) }; } };
const asTenant = (tenant) => sql`select set_config('app.tenant', ${tenant}, true)`;

// All of the queries in one transaction: a batch over HTTP, a transaction over the WebSocket.
const together = async (make) => driver === 'http'
  ? db.batch(make(db))
  : db.transaction(async (tx) => { const given = []; for (const query of make(tx)) given.push(await query); return given; });

const out = {};
out.inserted = await db.insert(notes).values([{ tenant: 'a', body: 'one' }, { tenant: 'b', body: 'two' }]).returning();
out.selected = await db.select({ body: notes.body }).from(notes).orderBy(notes.id);
out.updated = (await db.update(notes).set({ body: 'uno' }).where(eq(notes.body, 'one'))).rowCount;
const kind = {
  key: '7f1d2c3e-0000-4000-8000-0123456789ab', fact: { deep: [1, 'two', null, { 'ключ': '"quoted"\\' }] },
  words: ['plain', 'with "quotes"', 'back\\slash', '', 'NULL', 'comma, brace }'], grid: [[1, 2], [3, 4]],
  raw: Buffer.from([0, 1, 254, 255]), price: '12345678901234567890.123456789', at: new Date('2026-02-03T04:05:06.789Z'),
  flag: true, ratio: 0.1, nothing: null,
};
await db.insert(kinds).values(kind);
const [back] = await db.select().from(kinds);
out.kinds = { ...back, raw: Buffer.from(back.raw).toString('hex'), at: back.at.toISOString() };
out.duplicate = await attempt(() => db.insert(notes).values({ tenant: 'a', body: 'two' }));
out.sameKey = await attempt(() => db.insert(kinds).values(kind));
out.division = await attempt(() => db.execute(sql`select 1/0`));
out.syntax = await attempt(() => db.execute(sql`select * frm notes`));
out.several = await attempt(() => db.execute(sql`select 1; select 2`));
out.asTenantA = (await together((on) => [on.execute(asTenant('a')), on.select({ body: notes.body }).from(notes)]))[1];
out.batch = await attempt(() => together((on) => [
  on.insert(notes).values({ tenant: 'a', body: 'three' }).returning({ body: notes.body }),
  on.insert(notes).values({ tenant: 'a', body: 'four' }),
  on.select({ body: notes.body }).from(notes).orderBy(notes.id),
]).then((given) => given[2]));
out.undone = await attempt(() => together((on) => [
  on.insert(notes).values({ tenant: 'a', body: 'never' }),
  on.insert(notes).values({ tenant: 'a', body: 'two' }),
]));
out.after = await db.select({ body: notes.body }).from(notes).orderBy(notes.id);

const deny = async (address) => {
  if (driver === 'http') return attempt(() => neon(address)`select 1`);
  const mine = new Pool({ connectionString: address, max: 1 });
  try { return await attempt(() => mine.query('select 1')); } finally { await mine.end(); }
};
const changed = (change) => { const url = new URL(uri); change(url); return String(url); };
out.wrongPassword = await deny(changed((url) => { url.password = 'wrong'; }));
out.unknownPort = await deny(changed((url) => { url.port = '1'; }));
out.foreignHost = await deny(changed((url) => { url.hostname = 'example.com'; }));
out.unknownDatabase = await deny(changed((url) => { url.pathname = '/nowhere'; }));
if (driver === 'http') {
  const query = neon(uri, { fullResults: true });
  out.full = await query`select 1 as a, 2 as a, 'x' as b`;
  const settings = (options) => query.transaction([query`select current_setting('transaction_isolation') as level,
    current_setting('transaction_read_only') as ro, current_setting('transaction_deferrable') as def`], options)
    .then((given) => given[0].rows[0]);
  out.levels = await Promise.all(['ReadUncommitted', 'ReadCommitted', 'RepeatableRead', 'Serializable']
    .map((isolationLevel) => settings({ isolationLevel, readOnly: true, deferrable: true })));
  out.plain = await settings({});
} else {
  const savepoint = await db.transaction(async (tx) => {
    await tx.insert(notes).values({ tenant: 'a', body: 'outer' });
    await attempt(() => tx.transaction(async (inner) => {
      await inner.insert(notes).values({ tenant: 'a', body: 'inner' });
      throw new Error('undo the inner');
    }));
    return tx.select({ body: notes.body }).from(notes).where(sql`${notes.body} in ('outer', 'inner')`);
  });
  out.savepoint = savepoint;
  out.large = (await pool.query('select length($1) as n', ['x'.repeat(3_000_000)])).rows[0].n;
  out.answer = (await pool.query("select repeat('y', 3000000) as y")).rows[0].y.length;
}
if (pool) await pool.end();
console.log(JSON.stringify(out));
