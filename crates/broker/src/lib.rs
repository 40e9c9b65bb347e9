//! The core NATS broker: routing, connections and back-pressure.
