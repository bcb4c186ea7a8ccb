// Serves the Kafka topics of recent changes as Wikimedia's EventStreams does: with the
// same core, the package kafka-sse, set as there. POST /cut breaks all connections.
//
//   node server.js BROKERS PORT   (node_modules where NODE_PATH says)
'use strict';

const EventEmitter = require('events');
const http = require('http');
const kafkaSse = require('kafka-sse');

const [brokers, port] = process.argv.slice(2);
const topics = ['eqiad.mediawiki.recentchange', 'codfw.mediawiki.recentchange'];
const quiet = { child: () => quiet, trace() {}, debug() {}, info() {} };
quiet.warn = quiet.error = (...what) => console.error(JSON.stringify(what));
const open = new Set();

const server = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://localhost');
  if (req.method === 'POST' && url.pathname === '/cut') {
    console.log(`cut ${open.size}`);
    for (const socket of open) socket.destroy();
    res.end(`${open.size}`);
    return;
  }
  if (url.pathname !== '/v2/stream/recentchange') {
    res.writeHead(404).end();
    return;
  }
  console.log(`from ${req.headers['last-event-id'] ?? '-'}`);
  // kafka-sse ends with the request's "close", which in Node.js since 16 means that the
  // request was read, and not that the client has gone.
  const request = Object.assign(new EventEmitter(), { headers: req.headers });
  open.add(req.socket);
  req.socket.once('close', () => {
    open.delete(req.socket);
    request.emit('close');
  });
  const since = Number(url.searchParams.get('since')) || undefined;
  kafkaSse(request, res, topics, {
    kafkaConfig: { 'metadata.broker.list': brokers, 'isolation.level': 'read_committed' },
    allowedTopics: topics, useTimestampForId: true, logger: quiet,
  }, since).catch((e) => console.error(e));
});
server.listen(Number(port), '127.0.0.1', () => console.log('listening'));
process.on('SIGTERM', () => process.exit(0));
