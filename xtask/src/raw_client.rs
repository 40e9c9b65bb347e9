//! A streaming client of a few lines over a bare socket, so that a test decides every byte and every moment itself.
//!
//! It knows just enough of `streaming-protocol.md` §2.3 and of the core protocol to connect, publish, and read what comes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// How long one read may take.
const READ_DEADLINE: Duration = Duration::from_secs(30);

/// Inboxes of this client, all under subscription 1; the publish acknowledgements come to `_STAN.acks.<client ID>`.
const INBOX: &str = "_INBOX.raw";

/// A connection to the server.
pub(crate) struct RawClient {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
    client_id: String,
}

/// A message as it came from the server.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) subject: String,
    pub(crate) reply: Option<String>,
    pub(crate) payload: Vec<u8>,
}

impl RawClient {
    /// Connects and registers a streaming client.
    pub(crate) fn connect(port: u16, client_id: &str) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port)).context("connect to the server")?;
        socket.set_read_timeout(Some(READ_DEADLINE))?;
        socket.set_nodelay(true)?;
        let reader = BufReader::new(socket.try_clone()?);
        let mut client = Self {
            socket,
            reader,
            client_id: client_id.to_owned(),
        };
        let info = client.read_line()?;
        ensure!(info.starts_with("INFO "), "the server greets with {info:?}");
        let acks = client.ack_subject();
        let hello = "CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"raw\"}\r\n";
        client.send(format!("{hello}SUB {INBOX}.{client_id}.> 1\r\nSUB {acks} 2\r\n").as_bytes())?;
        let request = Fields::default()
            .text(1, client_id)
            .text(2, &format!("{INBOX}.{client_id}.hb"))
            .number(3, 1);
        let response = client.request("_STAN.discover.test-cluster", &request.text(4, client_id).0)?;
        ensure!(
            response.windows(9).any(|bytes| bytes == b"_STAN.pub"),
            "connecting failed: {:?}",
            lossy(&response)
        );
        Ok(client)
    }

    /// Subscribes to a channel from its first message; deliveries come to `_INBOX.raw.<client ID>.sub`.
    pub(crate) fn subscribe(&mut self, channel: &str) -> anyhow::Result<()> {
        let inbox = format!("{INBOX}.{}.sub", self.client_id);
        let request = Fields::default()
            .text(1, &self.client_id)
            .text(2, channel)
            .text(4, &inbox);
        let request = request.number(5, 100_000).number(6, 60).number(10, 4);
        let response = self.request("_STAN.sub.test-cluster", &request.0)?;
        ensure!(
            response.windows(7).any(|bytes| bytes == b"_INBOX."),
            "subscribing failed: {:?}",
            lossy(&response)
        );
        Ok(())
    }

    /// Sends publishes, all in one write. The acknowledgements are read with [`Self::receive`].
    pub(crate) fn publish(&mut self, channel: &str, messages: &[(String, String)]) -> anyhow::Result<()> {
        let acks = self.ack_subject();
        let mut bytes = Vec::new();
        for (guid, payload) in messages {
            let message = Fields::default()
                .text(1, &self.client_id)
                .text(2, guid)
                .text(3, channel);
            let message = message.text(5, payload).text(6, &self.client_id).0;
            bytes.extend(format!("PUB _STAN.pub.test-cluster.{channel} {acks} {}\r\n", message.len()).bytes());
            bytes.extend(message);
            bytes.extend(b"\r\n");
        }
        self.send(&bytes)
    }

    /// The subject to which publishes are acknowledged.
    pub(crate) fn ack_subject(&self) -> String {
        format!("_STAN.acks.{}", self.client_id)
    }

    /// The next message for this client. Pings are answered on the way; heartbeats too.
    pub(crate) fn receive(&mut self) -> anyhow::Result<Received> {
        loop {
            let line = self.read_line()?;
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["PING"] => self.send(b"PONG\r\n")?,
                ["PONG" | "+OK"] => {}
                ["INFO", ..] => {}
                ["MSG", subject, _, size] => return self.payload(subject, None, size),
                ["MSG", subject, _, reply, size] => {
                    let message = self.payload(subject, Some(reply), size)?;
                    if !subject.ends_with(".hb") {
                        return Ok(message);
                    }
                    self.send(format!("PUB {reply} 0\r\n\r\n").as_bytes())?;
                }
                _ => bail!("the server said {line:?}"),
            }
        }
    }

    fn payload(&mut self, subject: &str, reply: Option<&str>, size: &str) -> anyhow::Result<Received> {
        let size: usize = size.parse().with_context(|| format!("message size {size:?}"))?;
        let mut payload = vec![0; size + 2];
        self.reader.read_exact(&mut payload)?;
        payload.truncate(size);
        Ok(Received {
            subject: subject.to_owned(),
            reply: reply.map(str::to_owned),
            payload,
        })
    }

    /// Asks, and waits for the answer; nothing else may come before it.
    pub(crate) fn request(&mut self, subject: &str, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
        let inbox = format!("{INBOX}.{}.reply", self.client_id);
        let mut bytes = format!("PUB {subject} {inbox} {}\r\n", payload.len()).into_bytes();
        bytes.extend(payload);
        bytes.extend(b"\r\n");
        self.send(&bytes)?;
        let answer = self.receive()?;
        ensure!(
            answer.subject == inbox,
            "{answer:?} came before the answer to {subject}"
        );
        Ok(answer.payload)
    }

    fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.socket.write_all(bytes).context("send to the server")
    }

    fn read_line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let count = self.reader.read_line(&mut line).context("wait for the server")?;
        ensure!(count > 0, "the server hung up");
        Ok(line.trim_end().to_owned())
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A protobuf message under construction; fields are added in ascending order.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn text(mut self, number: u64, value: &str) -> Self {
        self.varint(number << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value.bytes());
        self
    }

    fn number(mut self, number: u64, value: u64) -> Self {
        self.varint(number << 3);
        self.varint(value);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_as_the_vectors_of_section_2_15() {
        let publish = Fields::default()
            .text(1, "me")
            .text(2, "g1")
            .text(3, "foo")
            .text(5, "hi")
            .text(6, "c1");
        let want = b"\x0a\x02me\x12\x02g1\x1a\x03foo\x2a\x02hi\x32\x02c1";
        assert_eq!(publish.0, want);
        assert_eq!(Fields::default().number(5, 1024).0, [0x28, 0x80, 0x08]);
    }
}
