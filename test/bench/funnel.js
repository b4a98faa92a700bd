// What ClickHouse (npm chdb) says to the same funnels.
//
//   node funnel.js compare EVENTS.csv ANSWERS.csv   checks answers of crm.window_funnel and crm.retention
//   node funnel.js bench EVENTS.csv ROUNDS          times one funnel over a loaded table
//
// To be run where chdb is installed.

const fs = require('fs');
const { Session } = require('chdb');

const [what, ...files] = process.argv.slice(2);
const session = new Session();
const ask = (sql) => session.query(sql, 'CSV').trim();

const list = (n, f) => Array.from({ length: n }, (_, i) => f(i)).join(', ');

function compare(events, answers) {
	// By mask within an instant: the order in which ClickHouse takes rows where that matters to it
	ask(`CREATE DATABASE IF NOT EXISTS f ENGINE = Atomic`);
	ask(`CREATE TABLE f.event (steps UInt8, win UInt64, id UInt32, at UInt64, mask UInt32, n UInt32)
		 ENGINE = MergeTree ORDER BY (steps, win, id, at, mask, n) AS
		 SELECT * FROM file('${events}', CSV, 'steps UInt8, win UInt64, id UInt32, at UInt64, mask UInt32, n UInt32')`);

	const rows = fs.readFileSync(answers, 'utf8').replace(/"/g, '').trim().split('\n').map((l) => l.split(','));
	const groups = new Map();
	for (const [modes, steps, win, id, level] of rows) {
		const key = [modes, steps, win].join(',');
		if (!groups.has(key)) groups.set(key, new Map());
		groups.get(key).set(id, level);
	}
	let same = 0;
	const different = [];
	for (const [key, ours] of groups) {
		const [modes, steps, win] = key.split(',');
		// In the order of coming, save where that is said to matter
		const order = modes.includes('strict_once') && modes.includes('strict_deduplication') ? 'at, mask' : 'n';
		const from = `(SELECT * FROM f.event WHERE steps = ${steps} AND win = ${win} ORDER BY id, ${order})`;
		const conditions = list(+steps, (i) => `bitTest(mask, ${i})`);
		const sql = modes === 'retention'
			? `SELECT id, arrayStringConcat(retention(${conditions})) FROM ${from} GROUP BY id`
			: `SELECT id, windowFunnel(${[win, ...modes.split(' ').filter(Boolean).map((m) => `'${m}'`)].join(', ')})
				(at, ${conditions}) FROM ${from} GROUP BY id`;
		const theirs = ask(sql + ' SETTINGS max_threads = 1');
		for (const line of theirs.split('\n').filter(Boolean)) {
			const [id, level] = line.replace(/"/g, '').split(',');
			if (ours.get(id) === level) same++;
			else different.push(`${key}: id ${id}: ClickHouse ${level}, crm ${ours.get(id)}`);
		}
	}
	console.log(`${same} answers are those of ClickHouse ${ask('SELECT version()').replace(/"/g, '')}, ${different.length} are not`);
	different.slice(0, 20).forEach((d) => console.log('  ' + d));
	if (different.length > 0 || same < rows.length) process.exit(1);
}

// Prints the version, customers by steps, the median of the seconds, and the peak of this process's own memory in MB
function bench(events, rounds) {
	ask(`CREATE DATABASE IF NOT EXISTS f ENGINE = Atomic`);
	ask(`CREATE TABLE f.click (user_id UInt64, at DateTime, kind LowCardinality(String)) ENGINE = MergeTree ORDER BY (user_id, at) AS
		 SELECT * FROM file('${events}', CSV, 'user_id UInt64, at DateTime, kind String')`);
	ask('OPTIMIZE TABLE f.click FINAL');
	const memory = () => +/^RssAnon:\s+(\d+)/m.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1];
	const times = [];
	let peak = 0;
	let levels;
	for (let i = 0; i < +rounds; i++) {
		const start = process.hrtime.bigint();
		levels = ask(`SELECT level, count() FROM (
				SELECT user_id, windowFunnel(86400)(at, kind = 'view', kind = 'cart', kind = 'order') AS level
				  FROM f.click WHERE kind IN ('view', 'cart', 'order') GROUP BY user_id)
			WHERE level > 0 GROUP BY level ORDER BY level SETTINGS max_threads = 2`);
		times.push(Number(process.hrtime.bigint() - start) / 1e9);
		peak = Math.max(peak, memory());
	}
	times.sort((a, b) => a - b);
	console.log(ask('SELECT version()').replace(/"/g, ''), levels.replace(/,/g, '|').replace(/\n/g, ','),
				times[Math.floor(times.length / 2)].toFixed(2), Math.round(peak / 1024));
}

if (what === 'compare') compare(...files);
else if (what === 'bench') bench(...files);
session.cleanup?.();
