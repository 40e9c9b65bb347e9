//! What a member of a group writes into its claim, for the others to read.

/// What every such text begins with; a server that is in no group writes something else.
const MARK: &str = "ft";
const ENCRYPTED: &str = "encrypted";
const PLAIN: &str = "plain";
/// What a claim keeps of a line (`seaway_store::Claim::make`).
const LINE_BYTES_MAX: usize = 400;

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The cluster ID that it serves.
    pub cluster_id: String,
    /// The name of its group.
    pub group: String,
    /// Its ID, new with each process.
    pub server_id: String,
    /// Whether it encrypts what it writes; with which key the store says.
    pub encrypts: bool,
    /// For people.
    pub name: String,
}

impl Member {
    /// As it is written: neither cluster ID, group nor server ID can hold a blank.
    pub fn line(&self) -> String {
        let Member {
            cluster_id,
            group,
            server_id,
            encrypts,
            name,
        } = self;
        let encryption = if *encrypts { ENCRYPTED } else { PLAIN };
        format!("{MARK} {cluster_id} {group} {server_id} {encryption} {name}")
    }

    /// Whether a claim has room for all that others have to know; the name may be cut.
    pub fn fits(&self) -> bool {
        self.line().len() - self.name.len() <= LINE_BYTES_MAX
    }

    /// Reads what somebody wrote; `None` for a server that is in no group.
    pub fn read(line: &str) -> Option<Member> {
        let mut words = line.splitn(6, ' ');
        if words.next()? != MARK {
            return None;
        }
        let mut next = || words.next().map(str::to_owned);
        Some(Member {
            cluster_id: next()?,
            group: next()?,
            server_id: next()?,
            encrypts: next()? == ENCRYPTED,
            name: next()?,
        })
    }

    /// Why a member whose claim this is cannot be of one group with `other`.
    pub fn differs(&self, other: &Member) -> Option<String> {
        let name = &self.name;
        let differ = |what: &str, theirs: &str, ours: &str| {
            format!("{name} serves in this directory {what} {theirs:?}, and this server has {ours:?}")
        };
        if self.cluster_id != other.cluster_id {
            return Some(differ("under cluster ID", &self.cluster_id, &other.cluster_id));
        }
        if self.group != other.group {
            return Some(differ("under the group", &self.group, &other.group));
        }
        match (self.encrypts, other.encrypts) {
            (true, false) => Some(format!(
                "{name} encrypts what it writes in this directory, and this server has no key"
            )),
            (false, true) => Some(format!(
                "{name} writes unencrypted in this directory, and this server has a key: stop all members to turn encryption on"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let member = |cluster_id: &str, group: &str| Member {
            cluster_id: cluster_id.to_owned(),
            group: group.to_owned(),
            server_id: "ID".to_owned(),
            encrypts: true,
            name: "a name with blanks".to_owned(),
        };
        let one = member("test-cluster", "g.h");
        assert_eq!(one.line(), "ft test-cluster g.h ID encrypted a name with blanks");
        assert_eq!(Member::read(&one.line()), Some(one.clone()));
        for other in ["", "ft", "ft a b c d", "pid 7 on host", "process 7"] {
            assert_eq!(Member::read(other), None, "{other}");
        }
        assert!(one.fits());
        let wide = member("test-cluster", &"g".repeat(400));
        assert!(
            !wide.fits(),
            "others would read {:?}",
            Member::read(&wide.line()[..400])
        );
        assert_eq!(one.differs(&one), None);
        let text = one.differs(&member("other", "g.h")).unwrap();
        assert!(
            text.contains("cluster ID \"test-cluster\", and this server has \"other\""),
            "{text}"
        );
        let text = one.differs(&member("test-cluster", "i")).unwrap();
        assert!(text.contains("the group \"g.h\", and this server has \"i\""), "{text}");
        let plain = Member {
            encrypts: false,
            ..one.clone()
        };
        assert_eq!(Member::read(&plain.line()), Some(plain.clone()));
        assert!(one.differs(&plain).unwrap().contains("this server has no key"));
        assert!(plain.differs(&one).unwrap().contains("this server has a key"));
    }
}
