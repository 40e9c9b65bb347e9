//! Writers of what a server sends: INFO, MSG, HMSG, PING, PONG, +OK and -ERR (core specification §1.3, §1.9).

use serde::Serialize;

use crate::connect::{ClientConnect, ServerInfo};
use crate::error_text::ErrorText;

/// `PING␍␊`
pub const PING: &[u8] = b"PING\r\n";
/// `PONG␍␊`
pub const PONG: &[u8] = b"PONG\r\n";
/// `+OK␍␊`
pub const OK: &[u8] = b"+OK\r\n";
/// Ends every line and every payload.
pub const LINE_END: &[u8] = b"\r\n";

/// Appends `-ERR '<text>'␍␊`.
pub fn write_error(out: &mut Vec<u8>, error: &ErrorText<'_>) {
    out.extend_from_slice(b"-ERR '");
    out.extend_from_slice(error.text().as_bytes());
    out.extend_from_slice(b"'\r\n");
}

/// Appends `INFO {json} ␍␊`; the blank before the line end is part of the protocol as observed (§1.1).
pub fn write_info(out: &mut Vec<u8>, info: &ServerInfo) {
    write_json_line(out, b"INFO ", info);
}

/// Appends `CONNECT {json} ␍␊` (§1.5).
pub fn write_connect(out: &mut Vec<u8>, connect: &ClientConnect<'_>) {
    write_json_line(out, b"CONNECT ", connect);
}

/// Appends a whole PUB control line; the payload and [`LINE_END`] follow (§1.7).
pub fn write_publish(out: &mut Vec<u8>, subject: &[u8], reply: Option<&[u8]>, size: usize) {
    out.extend_from_slice(b"PUB ");
    out.extend_from_slice(subject);
    out.push(b' ');
    write_message_size(out, reply, size);
}

/// Appends a whole HPUB control line; the headers, the payload and [`LINE_END`] follow (§1.7).
pub fn write_header_publish(out: &mut Vec<u8>, subject: &[u8], header_size: usize, total_size: usize) {
    out.extend_from_slice(b"HPUB ");
    out.extend_from_slice(subject);
    out.push(b' ');
    write_number(out, header_size as u64);
    out.push(b' ');
    write_number(out, total_size as u64);
    out.extend_from_slice(LINE_END);
}

/// Appends `SUB <subject> <sid>␍␊` (§1.6).
pub fn write_subscribe(out: &mut Vec<u8>, subject: &[u8], sid: u64) {
    out.extend_from_slice(b"SUB ");
    out.extend_from_slice(subject);
    out.push(b' ');
    write_number(out, sid);
    out.extend_from_slice(LINE_END);
}

/// Appends `UNSUB <sid>␍␊` (§1.6).
pub fn write_unsubscribe(out: &mut Vec<u8>, sid: u64) {
    out.extend_from_slice(b"UNSUB ");
    write_number(out, sid);
    out.extend_from_slice(LINE_END);
}

/// Appends `<verb>{json} ␍␊`.
pub(crate) fn write_json_line(out: &mut Vec<u8>, verb: &[u8], json: &impl Serialize) {
    out.extend_from_slice(verb);
    serde_json::to_writer(&mut *out, json).expect("plain fields always serialize and a vector always accepts");
    out.extend_from_slice(b" \r\n");
}

/// Appends `MSG <subject> <sid> `: the part that is the same for every message of one subject to one subscription.
pub fn write_message_prefix(out: &mut Vec<u8>, subject: &[u8], sid: &[u8]) {
    out.extend_from_slice(b"MSG ");
    write_addressee(out, subject, sid);
}

fn write_addressee(out: &mut Vec<u8>, subject: &[u8], sid: &[u8]) {
    out.extend_from_slice(subject);
    out.push(b' ');
    out.extend_from_slice(sid);
    out.push(b' ');
}

/// Appends `[<reply> ]<size>␍␊`: what follows [`write_message_prefix`].
pub fn write_message_size(out: &mut Vec<u8>, reply: Option<&[u8]>, size: usize) {
    write_reply(out, reply);
    write_number(out, size as u64);
    out.extend_from_slice(LINE_END);
}

/// Appends a whole MSG control line; the payload and [`LINE_END`] follow.
pub fn write_message(out: &mut Vec<u8>, subject: &[u8], sid: &[u8], reply: Option<&[u8]>, size: usize) {
    write_message_prefix(out, subject, sid);
    write_message_size(out, reply, size);
}

/// Appends a whole HMSG control line; the headers, the payload and [`LINE_END`] follow.
pub fn write_header_message(
    out: &mut Vec<u8>,
    subject: &[u8],
    sid: &[u8],
    reply: Option<&[u8]>,
    header_size: usize,
    total_size: usize,
) {
    out.extend_from_slice(b"HMSG ");
    write_addressee(out, subject, sid);
    write_reply(out, reply);
    write_number(out, header_size as u64);
    out.push(b' ');
    write_number(out, total_size as u64);
    out.extend_from_slice(LINE_END);
}

fn write_reply(out: &mut Vec<u8>, reply: Option<&[u8]>) {
    if let Some(reply) = reply {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
}

/// Appends a decimal number.
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_section_1_9() {
        let mut out = Vec::new();
        write_message(&mut out, b"foo", b"1", None, 5);
        write_message(&mut out, b"foo", b"1", Some(b"bar"), 0);
        write_header_message(&mut out, b"foo", b"1", None, 12, 17);
        write_header_message(&mut out, b"foo", b"1", Some(b"bar"), 12, 12);
        write_error(&mut out, &ErrorText::StaleConnection);
        let expected = "MSG foo 1 5\r\nMSG foo 1 bar 0\r\nHMSG foo 1 12 17\r\nHMSG foo 1 bar 12 12\r\n\
             -ERR 'Stale Connection'\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_clients_say_in_sections_1_5_to_1_7() {
        let mut out = Vec::new();
        write_publish(&mut out, b"foo", None, 5);
        write_publish(&mut out, b"foo", Some(b"bar"), 0);
        write_header_publish(&mut out, b"foo", 12, 17);
        write_subscribe(&mut out, b"foo.*", 7);
        write_unsubscribe(&mut out, 7);
        let expected = "PUB foo 5\r\nPUB foo bar 0\r\nHPUB foo 12 17\r\nSUB foo.* 7\r\nUNSUB 7\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn info_ends_with_a_blank_as_section_1_1_says() {
        let mut out = Vec::new();
        write_info(&mut out, &ServerInfo::default());
        assert!(out.starts_with(b"INFO {\"server_id\":"));
        assert!(out.ends_with(b"} \r\n"));
    }
}
