// Streaming scenarios with node-nats-streaming.
'use strict'

const stan = require('node-nats-streaming')
const { DEADLINE, Deliveries, check, runAll, serverControl, waitFor, withDeadline } = require('./scenario')

// What the client must be told word for word (specification section 3).
const DUPLICATE_CLIENT = 'stan: clientID already registered'
const DUPLICATE_DURABLE = 'stan: duplicate durable registration'
const INVALID_CLIENT = 'stan: invalid clientID: only alphanumeric and `-` or `_` characters allowed'
// Keeps redelivery out of scenarios that are about something else (milliseconds).
const LONG_ACK_WAIT = 60_000

// A streaming connection, with promises where the client has events.
class Connection {
  static open (clientID) {
    const self = new Connection()
    const client = self.client = stan.connect(process.env.SEAWAY_CLUSTER, clientID, {
      url: process.env.SEAWAY_URL,
      connectTimeout: DEADLINE,
      reconnectTimeWait: 20,
      maxReconnectAttempts: -1
    })
    return withDeadline(new Promise((resolve, reject) => {
      client.on('connect', () => resolve(self))
      // Errors after the connection was made are those of a reconnect under way.
      client.on('error', reject)
    }), `connecting as ${clientID}`)
  }

  close () {
    return withDeadline(new Promise((resolve, reject) => {
      this.client.once('close', (error) => error ? reject(error) : resolve())
      this.client.close()
    }), 'closing the connection')
  }

  // Cuts the connection without a goodbye, as a crash would.
  die () {
    // Without this the library's ping timer goes on and throws out of its callback.
    this.client.cleanupOnClose(new Error('cut'))
    this.client.nc.close()
  }

  get connected () {
    return this.client.nc.connected
  }

  publishOne (channel, payload) {
    return withDeadline(new Promise((resolve, reject) => {
      const wanted = this.client.publish(channel, payload, (error, guid) => {
        if (error) {
          reject(error)
        } else {
          guid === wanted ? resolve() : reject(new Error(`guid ${guid} for ${wanted}`))
        }
      })
    }), `the acknowledgement of ${payload}`)
  }

  async publish (channel, ...payloads) {
    for (const payload of payloads) {
      await this.publishOne(channel, payload)
    }
  }

  // Subscribes and gathers the deliveries; `adjust` sets the options.
  async subscribe (channel, adjust = (options) => options, { group, into, member } = {}) {
    const deliveries = into || new Deliveries()
    const options = adjust(this.client.subscriptionOptions())
    const subscription = group ? this.client.subscribe(channel, group, options) : this.client.subscribe(channel, options)
    subscription.on('message', (message) => {
      message.member = member
      deliveries.put(message)
    })
    await withDeadline(new Promise((resolve, reject) => {
      subscription.on('ready', resolve)
      subscription.on('error', reject)
      subscription.on('timeout', reject)
    }), `subscribing to ${channel}`)
    return { subscription, deliveries }
  }
}

function end (subscription, how, event) {
  return withDeadline(new Promise((resolve, reject) => {
    subscription.on(event, resolve)
    subscription.on('error', reject)
    subscription.on('timeout', reject)
    subscription[how]()
  }), `${how} of a subscription`)
}

// The reason why a promise was rejected, in words.
function refusal (promise) {
  return promise.then(() => 'no error', (error) => error instanceof Error ? error.message : String(error))
}

function show (message) {
  return `sequence ${message.getSequence()}, "${message.getData()}", redelivered ${message.isRedelivered()}`
}

// Takes the next delivery and holds it against sequence, payload and redelivery flag.
async function expect (deliveries, sequence, payload, redelivered = false) {
  const want = `sequence ${sequence}, "${payload}", redelivered ${redelivered}`
  const got = await deliveries.next(want)
  check(show(got) === want, `received ${show(got)}; expected ${want}`)
  check(got.isRedelivered() === (got.getRedeliveryCount() > 0), `flag and count disagree: ${got.getRedeliveryCount()}`)
  return got
}

// Asks the monitoring endpoints whether the server knows something.
async function expectStatus (path, want) {
  const { status } = await fetch(process.env.SEAWAY_HTTP + path)
  check(status === want, `${path} answered with status ${status}, not ${want}`)
}

async function connect () {
  const connection = await Connection.open('connect-node')
  await expectStatus('/streaming/clientsz?client=connect-node', 200)
  await connection.close()
  await expectStatus('/streaming/clientsz?client=connect-node', 404)
  await (await Connection.open('connect-node')).close()
  const answer = await refusal(Connection.open('connect node'))
  check(answer === INVALID_CLIENT, `a client ID with a space was answered with ${answer}`)
}

async function publish () {
  const connection = await Connection.open('publish-node')
  const { deliveries } = await connection.subscribe('publish.node')
  const before = Date.now()
  await connection.publish('publish.node', 'one', '', 'three')
  for (const [index, payload] of ['one', '', 'three'].entries()) {
    const got = await expect(deliveries, index + 1, payload)
    const timestamp = got.getTimestamp().getTime()
    check(timestamp >= before - 1 && timestamp <= Date.now() + 1, `timestamp ${timestamp} is not now`)
    check(got.getSubject() === 'publish.node', `subject ${got.getSubject()}`)
  }
  const answer = await refusal(connection.publishOne('publish.*', 'nowhere'))
  check(answer === 'stan: invalid publish request', `a publish to a wildcard ended with ${answer}`)
  await connection.close()
}

async function publishAsync () {
  const count = 10_000
  const connection = await Connection.open('async-node')
  const waiting = new Set()
  const errors = []
  for (let number = 0; number < count; number++) {
    waiting.add(connection.client.publish('async.node', `message ${number}`, (error, guid) => {
      if (error || !waiting.delete(guid)) {
        errors.push(error || `unknown guid ${guid}`)
      }
    }))
  }
  await waitFor('every acknowledgement', () => waiting.size === 0 || errors.length > 0)
  check(errors.length === 0, `acknowledgement: ${errors[0]}`)
  const { deliveries } = await connection.subscribe('async.node', (options) => options.setDeliverAllAvailable())
  for (let number = 0; number < count; number++) {
    await expect(deliveries, number + 1, `message ${number}`)
  }
  await connection.close()
}

async function startNewOnly () {
  const connection = await Connection.open('new-only-node')
  await connection.publish('new.only.node', '1', '2', '3')
  const { deliveries } = await connection.subscribe('new.only.node')
  await connection.publish('new.only.node', '4', '5')
  await expect(deliveries, 4, '4')
  await expect(deliveries, 5, '5')
  await connection.close()
}

async function startLastReceived () {
  const connection = await Connection.open('last-node')
  await connection.publish('last.node', '1', '2', '3')
  const { deliveries } = await connection.subscribe('last.node', (options) => options.setStartWithLastReceived())
  await expect(deliveries, 3, '3')
  await connection.publish('last.node', '4')
  await expect(deliveries, 4, '4')
  await connection.close()
}

async function startAllAvailable () {
  const connection = await Connection.open('all-node')
  await connection.publish('all.node', '1', '2', '3')
  const { deliveries } = await connection.subscribe('all.node', (options) => options.setDeliverAllAvailable())
  await connection.publish('all.node', '4')
  for (let number = 1; number <= 4; number++) {
    await expect(deliveries, number, String(number))
  }
  await connection.close()
}

async function startSequence () {
  const connection = await Connection.open('sequence-node')
  await connection.publish('sequence.node', '1', '2', '3', '4')
  const inside = await connection.subscribe('sequence.node', (options) => options.setStartAtSequence(3))
  const beyond = await connection.subscribe('sequence.node', (options) => options.setStartAtSequence(100))
  const below = await connection.subscribe('sequence.node', (options) => options.setStartAtSequence(0))
  await connection.publish('sequence.node', '5')
  for (let number = 3; number <= 5; number++) {
    await expect(inside.deliveries, number, String(number))
  }
  await expect(beyond.deliveries, 5, '5')
  for (let number = 1; number <= 5; number++) {
    await expect(below.deliveries, number, String(number))
  }
  await connection.close()
}

// Publishes 1 and 2, lets the clock run for more than a second, publishes 3 and 4; resolves with an instant in the gap.
async function timeGap (connection, channel) {
  await connection.publish(channel, '1', '2')
  const old = Date.now()
  await waitFor('the clock', () => Date.now() - old > 1100)
  await connection.publish(channel, '3', '4')
  return old + 550
}

async function startTime () {
  const connection = await Connection.open('time-node')
  const instant = await timeGap(connection, 'time.node')
  const from = (milliseconds) =>
    connection.subscribe('time.node', (options) => options.setStartTime(new Date(milliseconds)))
  const exact = await from(instant)
  const early = await from(instant - 3_600_000)
  const future = await from(Date.now() + 3_600_000)
  await connection.publish('time.node', '5')
  for (let number = 3; number <= 5; number++) {
    await expect(exact.deliveries, number, String(number))
  }
  await expect(early.deliveries, 1, '1')
  await expect(future.deliveries, 5, '5')
  await connection.close()
}

async function startTimeDelta () {
  const connection = await Connection.open('delta-node')
  const instant = await timeGap(connection, 'delta.node')
  const ago = (milliseconds) =>
    connection.subscribe('delta.node', (options) => options.setStartAtTimeDelta(milliseconds))
  const exact = await ago(Date.now() - instant)
  const early = await ago(3_600_000)
  await expect(exact.deliveries, 3, '3')
  await expect(exact.deliveries, 4, '4')
  await expect(early.deliveries, 1, '1')
  await connection.close()
}

const durable = (ackWait) => (options) =>
  options.setDurableName('keeper').setDeliverAllAvailable().setManualAckMode(true).setAckWait(ackWait)

async function durableResumeClientRestart () {
  const channel = 'durable.node'
  const publisher = await Connection.open('durable-publisher-node')
  const first = await Connection.open('durable-node')
  const before = await first.subscribe(channel, durable(LONG_ACK_WAIT))
  await publisher.publish(channel, '1', '2', '3', '4', '5')
  for (let number = 1; number <= 5; number++) {
    const got = await expect(before.deliveries, number, String(number))
    if (number <= 3) {
      got.ack()
    }
  }
  await first.close()
  await publisher.publish(channel, '6')

  const second = await Connection.open('durable-node')
  const after = await second.subscribe(channel, durable(LONG_ACK_WAIT))
  ;(await expect(after.deliveries, 4, '4', true)).ack()
  ;(await expect(after.deliveries, 5, '5', true)).ack()
  ;(await expect(after.deliveries, 6, '6')).ack()
  await publisher.publish(channel, '7')
  ;(await expect(after.deliveries, 7, '7')).ack()
  await second.close()
  await publisher.close()
}

async function durableResumeServerKill () {
  const channel = 'durable.kill.node'
  const client = await Connection.open('durable-kill-node')
  const { deliveries } = await client.subscribe(channel, durable(2000))
  await client.publish(channel, '1', '2', '3', '4', '5')
  for (let number = 1; number <= 5; number++) {
    const got = await expect(deliveries, number, String(number))
    if (number <= 3) {
      got.ack()
    }
  }
  await client.publish(channel, '6', '7')
  ;(await expect(deliveries, 6, '6')).ack()
  ;(await expect(deliveries, 7, '7')).ack()
  // Acks are recorded at the latest with the commit after the one under way: after two more publishes nothing may undo them.
  await client.publish('durable.kill.node.barrier', 'one', 'two')

  await serverControl('kill')
  await waitFor('the client to notice', () => !client.connected)
  await serverControl('start')
  await waitFor('the client to come back', () => client.connected)

  // The same connection and subscription go on without a new request; what was not acknowledged comes again.
  await client.publish(channel, '8')
  const pending = new Set([4, 5, 8])
  while (pending.size > 0) {
    const got = await deliveries.next('4, 5 and 8 after the restart')
    const sequence = got.getSequence()
    check(sequence === 8 || ((sequence === 4 || sequence === 5) && got.isRedelivered()), `after the restart: ${show(got)}`)
    pending.delete(sequence)
    if (sequence !== 5) {
      got.ack()
    }
  }
  await client.close()

  // A new connection resumes the durable, over a second kill.
  await serverControl('restart')
  const again = await Connection.open('durable-kill-node')
  const resumed = await again.subscribe(channel, durable(2000))
  ;(await expect(resumed.deliveries, 5, '5', true)).ack()
  await again.publish(channel, '9')
  ;(await expect(resumed.deliveries, 9, '9')).ack()

  const everything = await again.subscribe(channel, (options) => options.setDeliverAllAvailable())
  for (let number = 1; number <= 9; number++) {
    await expect(everything.deliveries, number, String(number))
  }
  await again.close()
}

async function queueGroupMemberDies () {
  const [channel, count] = ['queue.node', 60]
  const publisher = await Connection.open('queue-publisher-node')
  const into = new Deliveries()
  const members = {}
  for (const member of ['a', 'b', 'c']) {
    members[member] = await Connection.open(`queue-${member}-node`)
    await members[member].subscribe(channel,
      (options) => options.setManualAckMode(true).setAckWait(LONG_ACK_WAIT), { group: 'workers', into, member })
  }
  for (let number = 1; number <= count; number++) {
    await publisher.publish(channel, String(number))
  }
  const seen = new Map()
  for (let number = 0; number < count; number++) {
    const got = await into.next('every message at one member')
    check(!seen.has(got.getSequence()) && !got.isRedelivered(), `${show(got)} came twice`)
    seen.set(got.getSequence(), got.member)
    if (got.member !== 'c') {
      got.ack()
    }
  }
  check(new Set(seen.values()).size === 3, 'the work was not shared by three members')
  // The third member dies with unacknowledged messages: once the server has given it up, the others get them, flagged.
  members.c.die()
  const missing = new Set([...seen].filter(([, member]) => member === 'c').map(([sequence]) => sequence))
  while (missing.size > 0) {
    const got = await into.next(`the dead member's ${missing.size} messages`)
    check(got.isRedelivered() && missing.delete(got.getSequence()), `unexpected ${show(got)} at ${got.member}`)
    got.ack()
  }
  await publisher.publish(channel, 'last')
  const got = await into.next('work goes on with two members')
  check(got.getData() === 'last', `unexpected ${show(got)}`)
  await Promise.all([members.a, members.b, publisher].map((connection) => connection.close()))
}

async function manualAckRedelivery () {
  const channel = 'redelivery.node'
  const connection = await Connection.open('redelivery-node')
  const { deliveries } = await connection.subscribe(channel, (options) => options.setManualAckMode(true).setAckWait(1000))
  const start = Date.now()
  await connection.publish(channel, '1')
  const first = await expect(deliveries, 1, '1')
  for (const count of [1, 2]) {
    const again = await expect(deliveries, 1, '1', true)
    check(again.getRedeliveryCount() === count, `redelivery ${count} carries count ${again.getRedeliveryCount()}`)
    const waited = Date.now() - start
    check(waited >= 900 * count, `redelivery ${count} came after ${waited} ms`)
  }
  first.ack()
  // Message 2 is left alone for two more ack waits; message 1 must not come back meanwhile.
  await connection.publish(channel, '2')
  await expect(deliveries, 2, '2')
  await expect(deliveries, 2, '2', true)
  ;(await expect(deliveries, 2, '2', true)).ack()
  await connection.close()
}

// A message falls due while the server is down. The client that comes back gets it as its first redelivery: nothing was sent to
// nobody before.
async function dueAtRestart () {
  const [channel, ackWait] = ['due.node', 3000]
  const client = await Connection.open('due-node')
  const { deliveries } = await client.subscribe(channel, durable(ackWait))
  await client.publish(channel, '1')
  await expect(deliveries, 1, '1')
  const due = Date.now() + ackWait
  // What was delivered is recorded at the latest with the commit after the one under way.
  await client.publish('due.node.barrier', 'one', 'two')
  await serverControl('kill')
  await waitFor('the message to fall due', () => Date.now() > due)
  await serverControl('start')
  const got = await expect(deliveries, 1, '1', true)
  const count = got.getRedeliveryCount()
  check(count === 1, `it was sent ${count - 1} times before anybody could take it`)
  got.ack()
  await client.close()
}

async function maxInflightOne () {
  const channel = 'inflight.node'
  const connection = await Connection.open('inflight-node')
  await connection.publish(channel, '1', '2', '3', '4', '5')
  const { deliveries } = await connection.subscribe(channel, (options) =>
    options.setDeliverAllAvailable().setManualAckMode(true).setMaxInFlight(1).setAckWait(1000))
  // Until it is acknowledged, the first message comes again rather than the second.
  const first = await expect(deliveries, 1, '1')
  await expect(deliveries, 1, '1', true)
  first.ack()
  for (let number = 2; number <= 5; number++) {
    (await expect(deliveries, number, String(number))).ack()
  }
  await connection.close()
}

async function duplicateClientRefused () {
  const first = await Connection.open('duplicate-node')
  const answer = await refusal(Connection.open('duplicate-node'))
  check(answer === DUPLICATE_CLIENT, `the second connection ended with ${answer}`)
  await first.publish('duplicate.node', 'the first one still works')
  // A dead client's name is free again at once.
  first.die()
  const second = await Connection.open('duplicate-node')
  await second.publish('duplicate.node', 'so does its successor')
  await second.close()
}

async function durableUnsubscribeVersusClose () {
  const channel = 'durable.end.node'
  const connection = await Connection.open('durable-end-node')
  const first = await connection.subscribe(channel, durable(LONG_ACK_WAIT))
  const answer = await refusal(connection.subscribe(channel, (options) => options.setDurableName('keeper')))
  check(answer === DUPLICATE_DURABLE, `a second active durable of the same name ended with ${answer}`)
  await connection.publish(channel, '1', '2')
  ;(await expect(first.deliveries, 1, '1')).ack()
  ;(await expect(first.deliveries, 2, '2')).ack()
  await end(first.subscription, 'close', 'closed')
  await connection.publish(channel, '3')

  const second = await connection.subscribe(channel, durable(LONG_ACK_WAIT))
  ;(await expect(second.deliveries, 3, '3')).ack()
  await end(second.subscription, 'unsubscribe', 'unsubscribed')

  const third = await connection.subscribe(channel, durable(LONG_ACK_WAIT))
  for (let number = 1; number <= 3; number++) {
    (await expect(third.deliveries, number, String(number))).ack()
  }
  await connection.close()
}

runAll([
  ['connect', connect],
  ['publish', publish],
  ['publish-async-10000', publishAsync],
  ['start-new-only', startNewOnly],
  ['start-last-received', startLastReceived],
  ['start-all-available', startAllAvailable],
  ['start-sequence', startSequence],
  ['start-time', startTime],
  ['start-time-delta', startTimeDelta],
  ['durable-resume-client-restart', durableResumeClientRestart],
  ['durable-resume-server-kill', durableResumeServerKill],
  ['queue-group-member-dies', queueGroupMemberDies],
  ['manual-ack-redelivery', manualAckRedelivery],
  ['max-inflight-one', maxInflightOne],
  ['duplicate-client-refused', duplicateClientRefused],
  ['due-at-restart', dueAtRestart],
  ['durable-unsubscribe-vs-close', durableUnsubscribeVersusClose]
])
