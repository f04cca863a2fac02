// node-postgres: parameters, types, prepared statements, errors, a pool.

const assert = require('assert');
const { Client, Pool } = require('pg');

const [host, port, user, password] = process.argv.slice(2);
const config = { host, port: Number(port), user, password, database: 'millrace' };

async function main() {
  const client = new Client(config);
  await client.connect();
  const { rows, fields } = await client.query(
    'SELECT time, device, temperature, strokes, running, note FROM press WHERE device = $1 AND time >= $2 ORDER BY time',
    ['p1', new Date('2024-01-01T00:00:00Z')],
  );
  assert.deepStrictEqual(rows[0], {
    time: new Date('2024-01-01T00:00:00Z'), device: 'p1', temperature: 71.5, strokes: '12',
    running: true, note: null,
  });
  assert.deepStrictEqual(fields.map((f) => f.dataTypeID), [1184, 25, 701, 20, 16, 25]);
  const catalogue = await client.query(
    "SELECT c.relname, c.relkind, i.indkey, c.oid::regclass AS shown FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid WHERE c.relname = $1",
    ['press'],
  );
  assert.deepStrictEqual(catalogue.rows[0], { relname: 'press', relkind: 'r', indkey: '2 3 1', shown: 'press' });
  const list = await client.query('SELECT array_agg(device) AS all FROM press WHERE site = ANY($1)', [['south']]);
  assert.deepStrictEqual(list.rows[0].all, ['p2']);
  for (let n = 0; n < 5; n++) {
    await client.query({
      name: 'insert', text: 'INSERT INTO press (time, device, site, strokes) VALUES ($1, $2, $3, $4)',
      values: [new Date(1700000000000 + n), 'n', 'node', n],
    });
  }
  const count = await client.query("SELECT count(*) FROM press WHERE site = 'node'");
  assert.strictEqual(count.rows[0].count, '5');
  await client.query('BEGIN');
  const gone = await client.query("DELETE FROM press WHERE site = 'node' RETURNING strokes");
  assert.strictEqual(gone.rowCount, 5);
  await client.query('ROLLBACK');
  await assert.rejects(client.query('SELECT * FROM nowhere'), { code: '42P01' });
  await client.end();

  const pool = new Pool({ ...config, max: 4 });
  const sums = await Promise.all(
    Array.from({ length: 20 }, (_, n) => pool.query('SELECT $1::int + count(*) AS n FROM press', [n])),
  );
  assert.strictEqual(sums.length, 20);
  await pool.end();
  console.log('fine');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
