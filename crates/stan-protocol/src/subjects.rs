//! The subjects of a streaming server (specification §2.5).

/// Prefix under which clients discover a server unless it is configured otherwise (specification §2.5).
const DISCOVER_PREFIX: &str = "_STAN.discover";

/// The subjects on which one server listens (specification §2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    /// Connect requests.
    pub discover: String,
    /// Pings of clients.
    pub pings: String,
    /// Clients publish on this prefix, a dot and the channel name.
    pub publish_prefix: String,
    /// Subscription requests.
    pub subscribe: String,
    /// Requests to remove a subscription.
    pub unsubscribe: String,
    /// Requests to close a subscription and keep its durable.
    pub subscription_close: String,
    /// Requests to close a client.
    pub close: String,
}

impl Subjects {
    /// Discovery prefix that clients use by default.
    pub const DEFAULT_DISCOVER_PREFIX: &'static str = DISCOVER_PREFIX;

    /// The subjects of a cluster; only the discovery prefix can be configured.
    pub fn new(cluster_id: &str, discover_prefix: &str) -> Self {
        let discover = format!("{discover_prefix}.{cluster_id}");
        Subjects {
            pings: format!("{discover}.pings"),
            discover,
            publish_prefix: format!("_STAN.pub.{cluster_id}"),
            subscribe: format!("_STAN.sub.{cluster_id}"),
            unsubscribe: format!("_STAN.unsub.{cluster_id}"),
            subscription_close: format!("_STAN.subclose.{cluster_id}"),
            close: format!("_STAN.close.{cluster_id}"),
        }
    }

    /// Subject that matches the publishes to every channel.
    pub fn publish_wildcard(&self) -> String {
        format!("{}.>", self.publish_prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_of_section_2_5() {
        let subjects = Subjects::new("test-cluster", Subjects::DEFAULT_DISCOVER_PREFIX);
        assert_eq!(subjects.discover, "_STAN.discover.test-cluster");
        assert_eq!(subjects.pings, "_STAN.discover.test-cluster.pings");
        assert_eq!(subjects.publish_prefix, "_STAN.pub.test-cluster");
        assert_eq!(subjects.publish_wildcard(), "_STAN.pub.test-cluster.>");
        assert_eq!(subjects.subscribe, "_STAN.sub.test-cluster");
        assert_eq!(subjects.unsubscribe, "_STAN.unsub.test-cluster");
        assert_eq!(subjects.subscription_close, "_STAN.subclose.test-cluster");
        assert_eq!(subjects.close, "_STAN.close.test-cluster");
    }

    #[test]
    fn only_the_discovery_prefix_changes() {
        let subjects = Subjects::new("c", "my.prefix");
        assert_eq!(subjects.discover, "my.prefix.c");
        assert_eq!(subjects.pings, "my.prefix.c.pings");
        assert_eq!(subjects.close, "_STAN.close.c");
    }
}
