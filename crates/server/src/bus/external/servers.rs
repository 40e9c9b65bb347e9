//! Which server is tried next: those of the options, those that they tell of, each in its turn.

use std::net::IpAddr;
use std::time::Duration;

use seaway_config::{ExternalNats, NatsUrl};

use crate::limits::{EXTERNAL_BACK_OFF_MAX, EXTERNAL_BACK_OFF_MIN, EXTERNAL_SERVERS_LEARNT_MAX};

/// A server that can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) url: NatsUrl,
    /// The name its certificate must have, if that is not the host: the address that another server tells is in no certificate.
    pub(super) certified_as: Option<String>,
}

/// See the module.
pub(super) struct Servers {
    configured: Vec<Target>,
    /// Told by others, without those that are configured.
    learnt: Vec<Target>,
    /// The place of the one that is tried, or was connected to, last.
    place: usize,
}

impl Servers {
    /// Those of the options.
    pub(super) fn new(options: &ExternalNats) -> Servers {
        let configured = options.urls.iter().map(|url| Target {
            url: url.clone(),
            certified_as: None,
        });
        Servers {
            configured: configured.collect(),
            learnt: Vec::new(),
            place: 0,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.configured.len() + self.learnt.len()
    }

    /// The one whose turn it is.
    pub(super) fn present(&self) -> Target {
        let all = self.configured.iter().chain(&self.learnt);
        let place = self.place % self.len().max(1);
        all.clone().nth(place).expect("there is one at least").clone()
    }

    /// The turn is the next one's.
    pub(super) fn next(&mut self) {
        self.place = (self.place + 1) % self.len().max(1);
    }

    /// Who else is there, as the present one says: `host:port` each. What an earlier one said counts no longer.
    pub(super) fn learn(&mut self, connect_urls: &[String]) {
        let teller = self.present();
        let mut learnt: Vec<Target> = Vec::new();
        for text in connect_urls.iter().take(EXTERNAL_SERVERS_LEARNT_MAX) {
            let Some((host, port)) = host_and_port(text) else {
                continue;
            };
            let is_known = |target: &Target| target.url.host == host && target.url.port == port;
            if self.configured.iter().any(is_known) || learnt.iter().any(is_known) {
                continue;
            }
            let name_of_teller = || teller.certified_as.clone().unwrap_or_else(|| teller.url.host.clone());
            let certified_as = host.parse::<IpAddr>().is_ok().then(name_of_teller);
            let url = NatsUrl {
                host,
                port,
                ..teller.url.clone()
            };
            learnt.push(Target { url, certified_as });
        }
        self.learnt = learnt;
        let is_teller = |target: &Target| target.url.host == teller.url.host && target.url.port == teller.url.port;
        let place = self.configured.iter().chain(&self.learnt).position(is_teller);
        self.place = place.unwrap_or(0);
    }
}

/// Of what servers tell of each other.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let is_host = !host.is_empty() && host.len() <= 253 && host.bytes().all(|byte| byte.is_ascii_graphic());
    let port = port.parse().ok().filter(|port| *port > 0)?;
    is_host.then(|| (host.to_owned(), port))
}

/// How long to wait before the next round over all servers, when so many were in vain; `chance` is 0 to 1. Many servers of one
/// kind lose their connections at the same moment, and must not come back at the same.
pub(super) fn back_off(rounds: u32, chance: f64) -> Duration {
    let longest = EXTERNAL_BACK_OFF_MIN
        .saturating_mul(1 << rounds.min(16))
        .min(EXTERNAL_BACK_OFF_MAX);
    longest.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(urls: &[(&str, u16)]) -> Servers {
        let url = |(host, port): &(&str, u16)| NatsUrl {
            host: (*host).to_owned(),
            port: *port,
            tls: false,
            login: Default::default(),
        };
        Servers::new(&ExternalNats {
            urls: urls.iter().map(url).collect(),
            ..ExternalNats::default()
        })
    }

    fn round(servers: &mut Servers) -> Vec<String> {
        (0..servers.len())
            .map(|_| {
                servers.next();
                let target = servers.present();
                format!("{}:{}", target.url.host, target.url.port)
            })
            .collect()
    }

    #[test]
    fn everybody_is_tried_and_the_one_that_was_lost_last() {
        let mut servers = servers(&[("a", 1), ("b", 2)]);
        assert_eq!(round(&mut servers), ["b:2", "a:1"]);
        servers.learn(&["10.0.0.3:4222".into(), "b:2".into(), "c:3".into(), "c:3".into()]);
        assert_eq!(round(&mut servers), ["b:2", "10.0.0.3:4222", "c:3", "a:1"]);
        servers.next();
        servers.next();
        assert_eq!(servers.present().certified_as.as_deref(), Some("a"));
        servers.next();
        assert_eq!(
            (servers.present().url.host.as_str(), servers.present().certified_as),
            ("c", None)
        );
        // It tells of others; those it does not name are gone.
        servers.learn(&["c:3".into(), "[::1]:5".into()]);
        assert_eq!(round(&mut servers), ["::1:5", "a:1", "b:2", "c:3"]);
        servers.learn(&[]);
        assert_eq!(servers.len(), 2);
        servers.present();
    }

    #[test]
    fn what_is_no_address_is_passed_over() {
        let mut servers = servers(&[("a", 1)]);
        let long = format!("{}:1", "x".repeat(300));
        servers.learn(&[
            "".into(),
            "x".into(),
            ":1".into(),
            "x:0".into(),
            "x:99999".into(),
            "a b:1".into(),
            long,
        ]);
        assert_eq!(servers.len(), 1);
        let many: Vec<String> = (1..10_000).map(|port| format!("x:{port}")).collect();
        servers.learn(&many);
        assert_eq!(servers.len(), 1 + EXTERNAL_SERVERS_LEARNT_MAX);
    }

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        assert!(back_off(0, 0.0) < back_off(0, 1.0));
        assert_eq!(back_off(0, 1.0), EXTERNAL_BACK_OFF_MIN);
        assert_eq!(back_off(u32::MAX, 1.0), EXTERNAL_BACK_OFF_MAX);
        assert!(back_off(40, 0.0) >= EXTERNAL_BACK_OFF_MAX / 2);
    }
}
