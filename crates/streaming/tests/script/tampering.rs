//! Changes to what is stored, to be met by the next restart: states that this engine does not write.

use super::Session;
use super::words::Words;
use crate::world::Record;

/// Kinds of facts, as stored.
const SERVER: u8 = 1;
const CLIENT: u8 = 2;
const SUBSCRIPTION: u8 = 5;

impl Session {
    /// `store forgets-server`: its own record is gone. `store forgets <client>`: no registration of it is left. `store copies <inbox> number=… sent=…`: a second record of
    /// a subscription, with another number and cursor.
    pub(super) fn tamper(&mut self, words: &Words<'_>) {
        let name = words.plain.get(2).copied().unwrap_or("").as_bytes();
        let records = &mut self.world.records;
        match words.at(1) {
            "forgets-server" => records.retain(|record| !matches!(record, Record::Fact { kind: SERVER, .. })),
            "forgets" => {
                let head = [&[0x0a, u8::try_from(name.len()).expect("a short name")], name].concat();
                let before = records.len();
                records.retain(
                    |record| !matches!(record, Record::Fact { kind: CLIENT, body, .. } if body.starts_with(&head)),
                );
                assert!(records.len() < before, "it was registered");
            }
            "copies" => {
                let holds = |body: &[u8]| body.windows(name.len()).any(|part| part == name);
                let found = records
                    .iter()
                    .rfind(|record| matches!(record, Record::Fact { kind: SUBSCRIPTION, body, .. } if holds(body)));
                let mut copy = found.expect("a record of it").clone();
                if let Record::Fact { body, .. } = &mut copy {
                    // Of a repeated field the last one counts: 1 is the number, 10 the cursor.
                    let small = |key| u8::try_from(words.number(key, 1)).expect("below 128");
                    body.extend([0x08, small("number"), 0x50, small("sent")]);
                }
                records.push(copy);
            }
            other => panic!("store {other}"),
        }
        self.world.durable = records.len();
    }
}
