//! How the engine's records refer to each other: by their place in a slab.
//!
//! Whatever may outlive its target (a work item, a read, an answer that waits) carries the target's unique number too.

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name(pub(super) usize);

        #[cfg(test)]
        impl $name {
            /// A key for tests of what keeps keys.
            #[allow(dead_code, reason = "tests use some kinds of keys only")]
            pub(crate) fn at(place: usize) -> $name {
                $name(place)
            }
        }
    };
}

key!(
    /// Place of a client.
    ClientKey
);
key!(
    /// Place of a channel.
    ChannelKey
);
key!(
    /// Place of a subscription.
    SubscriptionKey
);
key!(
    /// Place of a queue group.
    GroupKey
);

/// Whose cursor it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CursorKey {
    Subscription(SubscriptionKey),
    Group(GroupKey),
}

impl From<SubscriptionKey> for CursorKey {
    fn from(key: SubscriptionKey) -> CursorKey {
        CursorKey::Subscription(key)
    }
}

impl From<GroupKey> for CursorKey {
    fn from(key: GroupKey) -> CursorKey {
        CursorKey::Group(key)
    }
}
