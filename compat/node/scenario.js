// Runs scenarios one after another and prints `ok NAME` or `FAIL NAME: REASON` for each; see ../README.md.
'use strict'

const net = require('node:net')

// Every wait ends by this deadline (milliseconds) at the latest; a healthy run is far quicker.
const DEADLINE = 30_000

class Failure extends Error {}

function check (condition, reason) {
  if (!condition) {
    throw new Failure(reason)
  }
}

function withDeadline (promise, what) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Failure(`waited ${DEADLINE / 1000} s for ${what}`)), DEADLINE)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

// Polls a condition that no callback announces.
async function waitFor (what, condition) {
  const end = Date.now() + DEADLINE
  while (!condition()) {
    check(Date.now() < end, `waited ${DEADLINE / 1000} s for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

// A queue of what callbacks bring; `next` takes one or fails at the deadline.
class Deliveries {
  constructor () {
    this.waiting = []
    this.takers = []
  }

  put (item) {
    const taker = this.takers.shift()
    if (taker) {
      taker(item)
    } else {
      this.waiting.push(item)
    }
  }

  next (what) {
    if (this.waiting.length > 0) {
      return Promise.resolve(this.waiting.shift())
    }
    return withDeadline(new Promise((resolve) => this.takers.push(resolve)), what)
  }
}

// Asks the runner to `kill`, `start` or `restart` the server; resolves when it is done.
async function serverControl (command) {
  const [host, port] = process.env.SEAWAY_CONTROL.split(':')
  const answer = await withDeadline(new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), host, () => socket.write(command + '\n'))
    let text = ''
    socket.on('data', (bytes) => { text += bytes })
    socket.on('error', reject)
    socket.on('end', () => resolve(text.trim()))
  }), `the runner to ${command}`)
  check(answer === 'ok', `the runner answered ${answer} to ${command}`)
}

async function runAll (scenarios) {
  const only = (process.env.SEAWAY_SCENARIOS || '').split(',').filter((name) => name !== '')
  let failures = 0
  for (const [name, run] of scenarios) {
    if (only.length > 0 && !only.includes(name)) {
      continue
    }
    try {
      await run()
      console.log(`ok ${name}`)
    } catch (error) {
      failures++
      const reason = error instanceof Failure ? error.message : String((error && error.stack) || error)
      console.log(`FAIL ${name}: ${reason.replaceAll('\n', ' ')}`)
    }
  }
  process.exit(failures > 0 ? 1 : 0)
}

module.exports = { DEADLINE, Deliveries, check, runAll, serverControl, waitFor, withDeadline }
