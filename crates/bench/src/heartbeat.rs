//! The one thing that a client does unasked: it answers heartbeats.

use crate::wire::MessageView;

/// Answers a heartbeat.
pub(crate) fn answer(message: &MessageView<'_>, output: &mut Vec<u8>) {
    if !message.reply.is_empty() {
        output.extend_from_slice(b"PUB ");
        output.extend_from_slice(message.reply);
        output.extend_from_slice(b" 0\r\n\r\n");
    }
}
