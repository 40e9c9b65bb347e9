// The Node side of the take-over test: publishes numbers without end and prints `acked CHANNEL NUMBER` for every publish that the server
// acknowledged, until its input is closed. Servers go and come meanwhile.
'use strict'

const stan = require('node-nats-streaming')

// How long one waits for an acknowledgement before it counts as lost (milliseconds).
const ACK_WAIT = 2000
const INFLIGHT = 256

const channels = process.env.SEAWAY_CHANNELS.split(',')
const client = stan.connect(process.env.SEAWAY_CLUSTER, process.env.SEAWAY_CLIENT, {
  url: process.env.SEAWAY_URL,
  connectTimeout: 30_000,
  reconnectTimeWait: 20,
  maxReconnectAttempts: -1,
  ackTimeout: ACK_WAIT,
  stanPingInterval: 5000,
  stanMaxPingOut: 88
})

let outstanding = 0
let number = 0

function publish () {
  if (outstanding >= INFLIGHT) {
    return
  }
  const [mine, channel] = [number, channels[number % channels.length]]
  number++
  outstanding++
  client.publish(channel, String(mine), (error) => {
    outstanding--
    if (!error) {
      console.log(`acked ${channel} ${mine}`)
    }
  })
}

client.on('connect', () => {
  const timer = setInterval(publish, Number(process.env.SEAWAY_PACE || 1))
  process.stdin.resume()
  process.stdin.on('end', () => {
    clearInterval(timer)
    const ending = setInterval(() => {
      if (outstanding === 0) {
        clearInterval(ending)
        console.log('done')
        process.exit(0)
      }
    }, 2)
  })
})
// Those of a reconnect under way.
client.on('error', () => {})
client.on('connection_lost', (error) => {
  console.error(`the connection is lost for good: ${error}`)
  process.exit(1)
})
