//! Who is who: ids of members and of clusters. An id stands for one incarnation of a disk and never comes back; a name is a label.

use std::fmt;
use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128 as _, SipHasher24 as SipHasher128};

/// Which incarnation of a member's disk; never 0. Founders derive theirs (`founding_id`), everybody later draws one at random.
pub type NodeId = u64;

/// Id of a founder: the founders agree on it without talking, from the cluster's id and the member's name.
pub fn founding_id(cluster_id: &str, name: &str) -> NodeId {
    let mut hasher = SipHasher24::new();
    write(&mut hasher, cluster_id);
    write(&mut hasher, name);
    hasher.write_u64(0);
    hasher.finish().max(1)
}

/// Which cluster. It stands in every checksum between members, so that bytes of another cluster are never taken for those of this one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity(pub [u8; 16]);

impl Identity {
    /// The identity while a cluster is being founded: the same for all who were given the same list of names, in whatever order.
    pub fn founding(cluster_id: &str, names: &[&str]) -> Self {
        let mut names = names.to_vec();
        names.sort_unstable();
        names.dedup();
        let mut hasher = SipHasher128::new();
        write(&mut hasher, cluster_id);
        for name in names {
            write(&mut hasher, name);
        }
        Self(hasher.finish128().as_bytes())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A text with its length before it, so that no two lists of texts look the same.
fn write(hasher: &mut impl std::hash::Hasher, text: &str) {
    hasher.write(&(text.len() as u64).to_le_bytes());
    hasher.write(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They are written to disks: they must be the same in every build (consensus design §3.7).
    #[test]
    fn founding_ids_never_change() {
        assert_eq!(founding_id("test-cluster", "a"), 0xa7a6_797e_8e52_0743);
        assert_ne!(founding_id("test-cluster", "a"), founding_id("test-cluster", "b"));
        assert_ne!(founding_id("test-clustera", ""), founding_id("test-cluster", "a"));
    }

    #[test]
    fn founders_agree_on_the_identity_in_whatever_order_they_list_each_other() {
        let one = Identity::founding("test-cluster", &["a", "b", "c"]);
        assert_eq!(one, Identity::founding("test-cluster", &["c", "a", "b", "a"]));
        assert_ne!(one, Identity::founding("test-cluster", &["a", "b"]));
        assert_ne!(one, Identity::founding("test-cluster", &["a", "bc"]));
        assert_ne!(one, Identity::founding("another", &["a", "b", "c"]));
    }
}
