//! A server in the test's process and a client that speaks raw bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use seaway_broker::{Access, Authorization, Broker, BrokerOptions, Login, Secret, User};
use tokio::runtime::Runtime;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct Server {
    pub runtime: Runtime,
    pub broker: Broker,
    pub address: SocketAddr,
}

impl Server {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// With changed authorization.
    pub fn guarded(change: impl FnOnce(&mut Authorization)) -> Self {
        Self::with(|options| options.access = access(change))
    }

    pub fn with(change: impl FnOnce(&mut BrokerOptions)) -> Self {
        let mut options = BrokerOptions {
            host: "127.0.0.1".into(),
            port: 0,
            ..BrokerOptions::default()
        };
        change(&mut options);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let broker = Broker::new(options);
        let listener = runtime.block_on(broker.listen("127.0.0.1", 0)).unwrap();
        Self {
            address: listener.address(),
            runtime,
            broker,
        }
    }

    /// Connects and reads INFO.
    pub fn connect(&self) -> Client {
        let mut client = Client::dial(self.address);
        let info = client.line();
        let json = info.strip_prefix("INFO ").unwrap_or_else(|| panic!("{info:?}"));
        client.info = serde_json::from_str(json.trim()).unwrap();
        client
    }

    /// Connects and says CONNECT with `json`, which should turn verbose off.
    pub fn client(&self, json: &str) -> Client {
        let mut client = self.connect();
        client.send(format!("CONNECT {json}\r\nPING\r\n"));
        client.expect("PONG\r\n");
        client
    }

    /// A quiet client: neither verbose nor pedantic, no headers, no asynchronous INFO.
    pub fn quiet(&self) -> Client {
        self.client(r#"{"verbose":false,"pedantic":false}"#)
    }

    /// A quiet client of a user whose password is its name.
    #[track_caller]
    pub fn user(&self, name: &str) -> Client {
        self.client(&format!(
            r#"{{"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"user":"{name}","pass":"{name}"}}"#
        ))
    }

    pub fn wait_until(&self, what: &str, condition: impl Fn(&Broker) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&self.broker) {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            std::thread::yield_now();
        }
    }
}

pub struct Client {
    pub stream: TcpStream,
    pub info: serde_json::Value,
    buffer: Vec<u8>,
}

impl Client {
    /// Sends CONNECT with `json` and expects to be let in.
    #[track_caller]
    pub fn login(&mut self, json: &str) {
        self.flush(format!("CONNECT {json}\r\n"));
    }

    /// Sends bytes and expects to be refused for want of authorization.
    #[track_caller]
    pub fn expect_refusal(&mut self, bytes: &str) {
        self.send(bytes);
        self.expect("-ERR 'Authorization Violation'\r\n");
        self.expect_closed();
    }

    pub fn dial(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            info: serde_json::Value::Null,
            buffer: Vec::new(),
        }
    }

    /// The same client, for a thread that writes.
    pub fn share(&self) -> Self {
        Self {
            stream: self.stream.try_clone().unwrap(),
            info: self.info.clone(),
            buffer: Vec::new(),
        }
    }

    pub fn id(&self) -> u64 {
        self.info["client_id"].as_u64().unwrap()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads more; false at the end of the stream.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("read: {error}; have {:?}", String::from_utf8_lossy(&self.buffer)),
        }
    }

    /// One line without its end.
    pub fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
                self.buffer.drain(..end + 2);
                return line;
            }
            assert!(self.fill(), "closed; have {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.fill(), "closed; have {:?}", String::from_utf8_lossy(&self.buffer));
        }
        self.buffer.drain(..count).collect()
    }

    /// The next bytes are exactly these.
    #[track_caller]
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let actual = self.bytes(expected.len());
        assert_eq!(String::from_utf8_lossy(&actual), String::from_utf8_lossy(expected));
    }

    /// The answer to a PING is all that comes: everything before it has been handled and caused nothing more.
    #[track_caller]
    pub fn expect_nothing_more(&mut self) {
        self.send("PING\r\n");
        let mut line = self.line();
        // The server asks now and then.
        while line == "PING" {
            line = self.line();
        }
        assert_eq!(line, "PONG");
    }

    /// Nothing more comes but the end of the stream.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        while self.fill() {}
        assert_eq!(String::from_utf8_lossy(&self.buffer), "");
    }

    /// The stream ends, whatever comes before.
    pub fn expect_gone(&mut self) {
        while self.fill() {}
    }

    /// Sends, then waits until the server has handled it.
    #[track_caller]
    pub fn flush(&mut self, bytes: impl AsRef<[u8]>) {
        self.send(bytes);
        self.expect_nothing_more();
    }

    /// Reads one message: subject, sid, reply, payload (headers included).
    pub fn message(&mut self) -> (String, String, Option<String>, Vec<u8>) {
        let mut line = self.line();
        // The server asks now and then.
        while line == "PING" {
            line = self.line();
        }
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], "MSG", "{line}");
        let size: usize = words[words.len() - 1].parse().unwrap();
        let payload = self.bytes(size);
        self.expect("\r\n");
        let reply = (words.len() == 5).then(|| words[3].to_owned());
        (words[1].to_owned(), words[2].to_owned(), reply, payload)
    }

    pub fn stop_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

/// An access from a changed default authorization.
pub fn access(change: impl FnOnce(&mut Authorization)) -> Access {
    let mut authorization = Authorization::default();
    change(&mut authorization);
    Access::new(&authorization).unwrap()
}

/// The same in an account.
pub fn user_of(account: &str, name: &str) -> User {
    User {
        account: Some(account.into()),
        ..user(name, name)
    }
}

/// A user with a password and without permissions of its own.
pub fn user(name: &str, password: &str) -> User {
    User {
        login: Login::Password {
            name: name.into(),
            password: Secret::new(password),
        },
        account: None,
        permissions: None,
        standard_connections: true,
    }
}
