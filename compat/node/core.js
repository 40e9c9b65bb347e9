// Core scenarios with nats.js.
'use strict'

const net = require('node:net')
const { connect, headers, ErrorCode } = require('nats')
const { DEADLINE, Deliveries, check, runAll, waitFor, withDeadline } = require('./scenario')

function dial (options = {}) {
  return connect({
    servers: process.env.SEAWAY_URL, reconnectTimeWait: 20, maxReconnectAttempts: -1, timeout: DEADLINE, ...options
  })
}

function subscribe (connection, subject, options = {}) {
  const deliveries = new Deliveries()
  const subscription = connection.subscribe(subject, {
    ...options,
    callback: (error, message) => deliveries.put(error || message)
  })
  return { subscription, deliveries }
}

async function expectText (deliveries, want) {
  const message = await deliveries.next(JSON.stringify(want))
  check(!(message instanceof Error), String(message))
  check(message.string() === want, `received ${message.string()}, not ${want}`)
  return message
}

async function publishSubscribe () {
  const [publisher, subscriber] = [await dial(), await dial()]
  const { deliveries } = subscribe(subscriber, 'core.plain')
  await subscriber.flush()
  const payload = Buffer.alloc(5000, Buffer.from([0, 1, 13, 10, 255]))
  publisher.publish('core.plain', payload)
  publisher.publish('core.plain')
  publisher.publish('core.other', 'not for us')
  publisher.publish('core.plain', 'last', { reply: 'answers.here' })
  const first = await deliveries.next('the first message')
  check(Buffer.compare(payload, first.data) === 0, `${payload.length} bytes came back differently`)
  await expectText(deliveries, '')
  const last = await expectText(deliveries, 'last')
  check(last.subject === 'core.plain' && last.reply === 'answers.here', `subject ${last.subject}, reply ${last.reply}`)
  // No echo: a connection that asked for it does not hear itself.
  const quiet = await dial({ noEcho: true })
  const own = subscribe(quiet, 'core.echo')
  quiet.publish('core.echo', 'own')
  await quiet.flush()
  publisher.publish('core.echo', 'foreign')
  await expectText(own.deliveries, 'foreign')
  await Promise.all([publisher, subscriber, quiet].map((connection) => connection.close()))
}

async function wildcards () {
  const connection = await dial()
  const star = subscribe(connection, 'wild.*.end')
  const tail = subscribe(connection, 'wild.>')
  const literal = subscribe(connection, 'wild.a.end')
  for (const subject of ['wild', 'wild.a.end', 'wild.a.b.end', 'wild.b.end', 'wild.done']) {
    connection.publish(subject, subject)
  }
  await expectText(star.deliveries, 'wild.a.end')
  await expectText(star.deliveries, 'wild.b.end')
  for (const want of ['wild.a.end', 'wild.a.b.end', 'wild.b.end', 'wild.done']) {
    const got = await expectText(tail.deliveries, want)
    check(got.subject === want, `subject ${got.subject}, not ${want}`)
  }
  await expectText(literal.deliveries, 'wild.a.end')
  await connection.flush()
  for (const { subscription, deliveries } of [star, tail, literal]) {
    check(deliveries.waiting.length === 0, `messages too many on ${subscription.getSubject()}`)
  }
  await connection.close()
}

async function queueGroups () {
  const count = 300
  const publisher = await dial()
  const seen = []
  const perMember = [0, 0, 0]
  const connections = [publisher]
  for (const index of perMember.keys()) {
    const connection = await dial()
    connections.push(connection)
    connection.subscribe('queue.work', {
      queue: 'workers',
      callback: (error, message) => {
        seen.push(error ? String(error) : message.string())
        perMember[index]++
      }
    })
    await connection.flush()
  }
  const other = subscribe(publisher, 'queue.*', { queue: 'auditors' })
  for (let number = 0; number < count; number++) {
    publisher.publish('queue.work', String(number))
  }
  for (let number = 0; number < count; number++) {
    await expectText(other.deliveries, String(number))
  }
  await waitFor('every message to reach one worker', () => seen.length >= count)
  check(seen.length === count && new Set(seen).size === count, `${seen.length} deliveries of ${new Set(seen).size} messages`)
  check(perMember.every((received) => received > 0), `one of three members received none: ${perMember}`)
  await Promise.all(connections.map((connection) => connection.close()))
}

async function requestReply () {
  const [server, client] = [await dial(), await dial()]
  server.subscribe('service.upper', { callback: (error, message) => !error && message.respond(message.string().toUpperCase()) })
  await server.flush()
  for (let number = 0; number < 100; number++) {
    const answer = await client.request('service.upper', `call ${number}`, { timeout: DEADLINE })
    check(answer.string() === `CALL ${number}`, `answered ${answer.string()}`)
  }
  await Promise.all([server.close(), client.close()])
}

async function noResponders () {
  const connection = await dial()
  const error = await connection.request('service.nobody', '', { timeout: DEADLINE }).then(() => null, (error) => error)
  check(error && error.code === ErrorCode.NoResponders, `a request nobody serves ended with ${error}`)
  await connection.close()
}

async function messageHeaders () {
  const [publisher, subscriber] = [await dial(), await dial()]
  const { deliveries } = subscribe(subscriber, 'core.headers')
  await subscriber.flush()
  const set = headers()
  set.append('Trace', 'one')
  set.append('Trace', 'two')
  publisher.publish('core.headers', 'body', { headers: set })
  const got = await expectText(deliveries, 'body')
  check(got.headers && got.headers.values('Trace').join() === 'one,two', `headers ${got.headers}`)
  await Promise.all([publisher.close(), subscriber.close()])
}

async function autoUnsubscribe () {
  const connection = await dial()
  const limited = subscribe(connection, 'core.limited', { max: 3 })
  const all = subscribe(connection, 'core.limited')
  for (let number = 0; number < 10; number++) {
    connection.publish('core.limited', String(number))
  }
  for (let number = 0; number < 10; number++) {
    await expectText(all.deliveries, String(number))
  }
  for (let number = 0; number < 3; number++) {
    await expectText(limited.deliveries, String(number))
  }
  await connection.flush()
  check(limited.deliveries.waiting.length === 0, 'more than three messages')
  check(limited.subscription.isClosed(), 'the subscription is still open')
  await connection.close()
}

async function drain () {
  const count = 1000
  const [publisher, subscriber] = [await dial(), await dial()]
  const { deliveries } = subscribe(subscriber, 'core.drain')
  await subscriber.flush()
  for (let number = 0; number < count; number++) {
    publisher.publish('core.drain', 'work')
  }
  await publisher.flush()
  await withDeadline(subscriber.drain(), 'the connection to drain')
  check(subscriber.isClosed(), 'drained but not closed')
  check(deliveries.waiting.length === count, `${deliveries.waiting.length} of ${count} messages before the connection closed`)
  await publisher.close()
}

async function maxPayload () {
  const connection = await dial()
  const limit = connection.info.max_payload
  check(limit === 1024 * 1024, `max_payload is ${limit}`)
  const { deliveries } = subscribe(connection, 'core.large')
  connection.publish('core.large', Buffer.alloc(limit))
  const got = await deliveries.next('the largest message allowed')
  check(got.data.length === limit, `${got.data.length} bytes came back of ${limit}`)
  let refused
  try {
    connection.publish('core.large', Buffer.alloc(limit + 1))
  } catch (error) {
    refused = error
  }
  check(refused && refused.code === ErrorCode.MaxPayloadExceeded, `one byte too many ended with ${refused}`)
  await connection.close()
  await serverSideMaxPayload(limit)
}

// Past the client library's own check: the server must answer in words and hang up.
async function serverSideMaxPayload (limit) {
  const address = new URL(process.env.SEAWAY_URL)
  const answer = await withDeadline(new Promise((resolve, reject) => {
    const socket = net.connect(Number(address.port), address.hostname, () => {
      socket.write(`CONNECT {"verbose":false}\r\nPUB core.large ${limit + 1}\r\n`)
    })
    let text = ''
    socket.on('data', (bytes) => { text += bytes })
    socket.on('error', reject)
    socket.on('end', () => resolve(text))
  }), 'the server to hang up')
  check(answer.endsWith("-ERR 'Maximum Payload Violation'\r\n"), `the server's last word was ${answer.slice(-80)}`)
}

async function fan () {
  const [count, subscribers] = [10_000, 4]
  const connections = []
  const received = []
  for (let index = 0; index < subscribers; index++) {
    const connection = await dial()
    connections.push(connection)
    const mine = []
    received.push(mine)
    connection.subscribe('core.fan', { callback: (error, message) => mine.push(error ? String(error) : message.string()) })
    await connection.flush()
  }
  const publisher = await dial()
  for (let number = 0; number < count; number++) {
    publisher.publish('core.fan', String(number))
  }
  await waitFor('all subscribers to receive everything', () => received.every((mine) => mine.length >= count))
  for (const mine of received) {
    const wrong = mine.findIndex((text, index) => text !== String(index))
    check(wrong === -1, `message ${wrong} was ${mine[wrong]}`)
  }
  await Promise.all([publisher, ...connections].map((connection) => connection.close()))
}

runAll([
  ['publish-subscribe', publishSubscribe],
  ['wildcards', wildcards],
  ['queue-groups', queueGroups],
  ['request-reply', requestReply],
  ['no-responders', noResponders],
  ['headers', messageHeaders],
  ['auto-unsubscribe', autoUnsubscribe],
  ['drain', drain],
  ['max-payload', maxPayload],
  ['fan-10000', fan]
])
