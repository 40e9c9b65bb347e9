//! What goes wrong: crashes, disks that fail or fill up, clocks that jump, a bus that breaks, clients that vanish.

use std::io::ErrorKind;

use seaway_journal::disk::simulated::Operation;
use seaway_streaming::Input;

use crate::run::{CLIENTS, Simulation};
use crate::settings::{self, SECOND};

const OPERATIONS: [Operation; 10] = [
    Operation::Read,
    Operation::Read,
    Operation::Read,
    Operation::SyncData,
    Operation::SyncData,
    Operation::Write,
    Operation::Create,
    Operation::Rename,
    Operation::Remove,
    Operation::SyncDirectory,
];

impl Simulation {
    pub(crate) fn something_breaks(&mut self) {
        match self.random.u32(..245) {
            0..25 => self.crash(),
            25..55 => self.crash_soon(12),
            55..60 => self.disk_fails(),
            60..72 => self.disk_fills_up(),
            72..90 => self.disk_has_space(),
            90..105 => self.clock_jumps(),
            105..112 => self.bus_breaks(),
            112..140 => self.bus_mends(),
            140..150 => self.queue_fills_up(),
            150..175 => self.queues_drain(),
            175..190 => self.client_vanishes(),
            190..200 => self.client_falls_silent(),
            200..205 => self.checkpoint_breaks(),
            205..215 => self.disk_rots(),
            215..223 => {
                self.disk_is_mended();
                self.mended_is_found();
            }
            223..228 => self.somebody_stops_listening(),
            228..232 => self.everybody_listens(),
            _ => self.clients_come_to(),
        }
    }

    pub(crate) fn crash(&mut self) {
        self.trace.add(format_args!("{} crash", self.now.monotonic));
        self.node = None;
        self.count("crashes");
        if !self.faults {
            self.disk_has_space();
        }
        if let Some(disk) = &self.disk {
            // A process may be killed without a loss of power; what breaks while nothing breaks any more loses all it can.
            if self.faults && self.random.u8(..4) == 0 {
                disk.restart_process();
            } else {
                disk.restart();
            }
        } else {
            // The ack inboxes of a new store are new.
            self.random.fill(&mut self.options.ack_inbox_key);
        }
        self.fault_planted = false;
        for (client, outgoing) in self.clients.iter_mut().zip(&mut self.outgoing) {
            client.server_crashed();
            outgoing.clear();
        }
    }

    /// What may happen while the server is down.
    pub(crate) fn before_start(&mut self) {
        if !self.faults {
            return;
        }
        if self.random.u8(..4) == 0 {
            let away = self.random.u64(1..30) * SECOND;
            self.advance(away);
        }
        if self.random.u8(..6) == 0 {
            self.clock_jumps();
        }
        if self.random.u8(..6) == 0 {
            self.limits = settings::limits(&mut self.random);
            self.options.limits = self.limits.table();
            self.count("starts with other limits");
        }
        let Some(disk) = &self.disk else { return };
        match self.random.u8(..20) {
            0..2 => self.crash_soon(20),
            2 => {
                let operation = OPERATIONS[self.random.usize(..OPERATIONS.len())];
                disk.fail(operation, self.random.u64(0..4), ErrorKind::Other);
                self.fault_planted = true;
            }
            _ => {}
        }
    }

    /// The power fails at one of the next changing operations of the disk.
    fn crash_soon(&mut self, within: u64) {
        if let Some(disk) = &self.disk {
            disk.crash_at(disk.operations() + 1 + self.random.u64(..within));
        }
    }

    fn disk_fails(&mut self) {
        let operation = OPERATIONS[self.random.usize(..OPERATIONS.len())];
        let after = self.random.u64(0..6);
        if let Some(disk) = &self.disk {
            self.trace.add(format_args!("the disk will fail in {operation:?}"));
            // A read that fails otherwise is tried again at once.
            let is_read = operation == Operation::Read && after > 0;
            let kind = if is_read {
                ErrorKind::ResourceBusy
            } else {
                ErrorKind::Other
            };
            disk.fail(operation, after, kind);
        }
    }

    /// A few bytes of a segment, or of its directory, are read otherwise than they were written. Only where a start reads neither
    /// facts nor directories: there damage stops it, and rightly.
    fn disk_rots(&mut self) {
        let Some(disk) = &self.disk else { return };
        if self.is_rotten {
            return;
        }
        let names = disk.durable_names();
        let newest = names.iter().rev().find(|name| name.ends_with(".checkpoint"));
        let header = newest.and_then(|name| disk.content(name));
        let begins = header.and_then(|header| header.get(48..56)?.try_into().ok().map(u64::from_le_bytes));
        let Some(begins) = begins else { return };
        let number = |name: &str| u64::from_str_radix(name.strip_prefix("segment-")?.get(..16)?, 16).ok();
        let sealed: Vec<&str> = names
            .iter()
            .filter_map(|name| name.strip_suffix(".directory"))
            .filter(|name| number(name).is_some_and(|number| number < begins))
            .filter(|name| names.binary_search(&format!("{name}.log")).is_ok())
            .collect();
        if sealed.is_empty() {
            return;
        }
        let kind = if self.random.u8(..5) == 0 { "directory" } else { "log" };
        let name = format!("{}.{kind}", sealed[self.random.usize(..sealed.len())]);
        let length = disk.content(&name).map_or(0, |content| content.len() as u64);
        for _ in 0..self.random.u32(1..12) {
            // What is behind the header, and mostly not in the part that was never used.
            let offset = self.random.u64(..length.max(1));
            let offset = if kind == "log" { 4_096 + offset / 2 } else { offset };
            self.is_rotten |= disk.rot(&name, offset, 1 << self.random.u8(..8));
        }
        self.trace.add(format_args!("{name} rots"));
        self.count("disks that rot");
    }

    /// Time passes until the server has looked again, and until those have tried again who passed something over.
    fn mended_is_found(&mut self) {
        for _ in 0..2 {
            self.advance(self.options.damage_look_ns);
            self.with_node(|node, now| {
                for _ in 0..40 {
                    node.submit();
                    node.job();
                    node.complete(now);
                }
            });
        }
    }

    pub(crate) fn disk_is_mended(&mut self) {
        if let Some(disk) = self.disk.as_ref().filter(|_| self.is_rotten) {
            disk.mend();
            self.is_rotten = false;
            self.trace.add(format_args!("the disk is mended"));
            self.count("disks that are mended");
        }
    }

    /// A checkpoint that has come some way finds no file to be written to.
    fn checkpoint_breaks(&mut self) {
        let steps = self.random.u32(1..4);
        self.with_node(|node, now| {
            node.begin_checkpoint();
            for _ in 0..steps {
                node.checkpoint_step(now);
            }
        });
        if let Some(disk) = &self.disk {
            self.trace
                .add(format_args!("a checkpoint will fail after {steps} steps"));
            disk.fail(Operation::Create, 0, ErrorKind::Other);
        }
    }

    fn disk_fills_up(&mut self) {
        let room = self.random.u64(0..200_000);
        if let Some(disk) = &self.disk {
            self.trace.add(format_args!("the disk has {room} bytes left"));
            disk.set_capacity(disk.used() + room);
            self.tight = true;
        }
    }

    pub(crate) fn disk_has_space(&mut self) {
        self.tight = false;
        if let Some(disk) = &self.disk {
            disk.set_capacity(u64::MAX);
        }
    }

    fn clock_jumps(&mut self) {
        let distance = i64::try_from(self.random.u64(1..4_000) * SECOND).expect("an hour");
        let forward = self.random.bool();
        self.now.wall.0 += if forward { distance } else { -distance };
        self.trace
            .add(format_args!("the clock jumps by {distance}, forward: {forward}"));
        self.count(if forward {
            "clock jumps forward"
        } else {
            "clock jumps back"
        });
    }

    fn bus_breaks(&mut self) {
        let told = self.random.bool();
        self.with_node(|node, now| {
            node.set_bus(false);
            if told {
                node.input(now, Input::BusDown);
            }
        });
        self.trace.add(format_args!("the bus breaks, the server knows: {told}"));
        self.count("broken buses");
    }

    pub(crate) fn bus_mends(&mut self) {
        self.with_node(|node, now| {
            if !node.is_bus_up() {
                // Whoever did not notice before does now.
                node.input(now, Input::BusDown);
                node.set_bus(true);
                node.input(now, Input::BusUp);
            }
        });
    }

    fn queue_fills_up(&mut self) {
        let client = self.random.u64(..CLIENTS as u64);
        self.with_node(|node, _| node.congest(client));
    }

    pub(crate) fn queues_drain(&mut self) {
        for client in 0..CLIENTS as u64 {
            self.with_node(|node, now| node.drain(now, client));
        }
    }

    /// Its connection is gone for a while, and the server does not know.
    fn somebody_stops_listening(&mut self) {
        let client = self.random.u64(..CLIENTS as u64);
        self.trace.add(format_args!("client {client} does not listen"));
        self.with_node(|node, _| node.stop_listening(client));
    }

    fn everybody_listens(&mut self) {
        self.trace.add(format_args!("everybody listens"));
        self.with_node(|node, _| node.listen());
    }

    fn client_vanishes(&mut self) {
        let number = self.random.usize(..CLIENTS);
        let client = &mut self.clients[number];
        self.trace.add(format_args!("{} vanishes", client.id));
        client.restart();
        client.reachable = self.random.bool();
        self.outgoing[number].clear();
    }

    fn client_falls_silent(&mut self) {
        let number = self.random.usize(..CLIENTS);
        self.trace.add(format_args!("{} falls silent", self.clients[number].id));
        self.clients[number].silent = true;
        self.count("silent clients");
    }

    fn clients_come_to(&mut self) {
        for client in &mut self.clients {
            client.silent = false;
        }
    }
}
