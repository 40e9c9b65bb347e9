//! What the options of a replicated cluster decide together (`stores-and-clustering.md` §6.1, §6.2).

use std::path::PathBuf;

use super::Draft;
use super::parts::ClusteringDraft;
use crate::options::{ClusterPeer, ClusteringOptions, MemberAddress, MemberTls, Membership, Secret, StoreKind};

impl Draft {
    /// Each of what is refused here would break a promise at some take-over, or leave a member that nobody can find.
    pub(super) fn finish_clustering(&mut self) -> Result<(), String> {
        let draft = std::mem::take(&mut self.clustering);
        if !draft.is_on {
            let is_given = draft.name.is_some() || draft.is_bootstrap || !draft.peers.is_empty();
            let is_protected = draft.secret.is_some() || draft.cert_file.is_some();
            if is_given || is_protected || draft.advertise.is_some() {
                let notice = "-cluster_node_id, -cluster_bootstrap, -cluster_peers and -cluster_members_… have no effect without -clustered";
                self.options.notices.push(notice.to_owned());
            }
            return Ok(());
        }
        self.check_store_of_member()?;
        let membership = self.membership(&draft)?;
        let tls = tls(draft.cert_file, draft.key_file, draft.ca_file)?;
        let secret = self.secret_of_members(draft.secret, tls.is_some())?;
        if self.options.streaming.encryption.is_some() && tls.is_none() {
            return Err(
                "-encrypt with -clustered needs TLS between members, because records travel plain: give -cluster_members_tls_cert, \
                 -cluster_members_tls_key and -cluster_members_tls_ca"
                    .to_owned(),
            );
        }
        let Some(listen) = draft.listen else {
            return Err("-cluster_members_listen names no address".to_owned());
        };
        self.options.streaming.clustering = Some(ClusteringOptions {
            name: draft.name,
            membership,
            listen,
            advertise: draft.advertise,
            secret,
            tls,
            is_replication_logged: draft.is_replication_logged,
            are_members_changed: draft.are_members_changed,
        });
        Ok(())
    }

    fn check_store_of_member(&mut self) -> Result<(), String> {
        let streaming = &mut self.options.streaming;
        if streaming.store != StoreKind::File {
            return Err(
                "stan: clustering mode not supported with MEMORY store type: give -store FILE and -dir with a directory of each member's own"
                    .to_owned(),
            );
        }
        if streaming.partitioning {
            return Err(
                "stan: channels partitioning in clustering mode is not supported: leave partitioning out, all members have all channels"
                    .to_owned(),
            );
        }
        if streaming.fault_tolerance.is_some() {
            return Err(
                "-ft_group cannot be given with -clustered: members of a cluster take over from each other without it, each with a directory \
                 of its own"
                    .to_owned(),
            );
        }
        if streaming.give_up_damage {
            return Err(
                "-file_truncate_bad_eof cannot be given with -clustered: what is damaged is fetched from other members; a directory that \
                 cannot be opened is emptied, and its member joins again"
                    .to_owned(),
            );
        }
        if streaming.adopt {
            return Err(
                "-adopt cannot be given with -clustered: a directory that was not a member's cannot become one, a cluster starts with empty \
                 directories"
                    .to_owned(),
            );
        }
        if !streaming.file_sync {
            streaming.file_sync = true;
            let notice = "-file_sync=false has no effect with -clustered: what is acknowledged has always been synced by most members";
            self.options.notices.push(notice.to_owned());
        }
        Ok(())
    }

    fn membership(&mut self, draft: &ClusteringDraft) -> Result<Membership, String> {
        let has_bus = self.options.broker.cluster.is_some() || self.options.streaming.external.is_some();
        let others = others(draft)?;
        if draft.peers.is_empty() {
            if draft.is_bootstrap {
                return match draft.name {
                    Some(_) => Ok(Membership::Alone),
                    None => Err(
                        "-cluster_bootstrap needs -cluster_node_id: the name by which others know this member"
                            .to_owned(),
                    ),
                };
            }
            return if has_bus {
                Ok(Membership::Joins)
            } else {
                Err(
                    "-clustered needs somebody to found the cluster with or to join: -cluster_peers names them as name@host:port; \
                     -cluster_bootstrap founds it alone; and over -routes or -ns a member finds the others by itself"
                        .to_owned(),
                )
            };
        }
        if draft.name.is_none() {
            return Err("-cluster_peers needs -cluster_node_id: founders know each other by their names".to_owned());
        }
        if draft.is_bootstrap {
            let notice = "-cluster_bootstrap has no effect beside -cluster_peers: those found the cluster together";
            self.options.notices.push(notice.to_owned());
        }
        if let Some(peer) = others.iter().find(|peer| peer.address.is_none() && !has_bus) {
            let name = &peer.name;
            return Err(format!(
                "-cluster_peers: nobody could find {name}: give {name}@host:port, or -cluster and -routes over which members find each other"
            ));
        }
        if others.is_empty() {
            return Ok(Membership::Alone);
        }
        Ok(Membership::With(others))
    }

    /// The secret; without one of its own, and without TLS, that of the routes, which the same servers share.
    fn secret_of_members(&mut self, given: Option<Secret>, is_tls: bool) -> Result<Option<Secret>, String> {
        let routes = self.options.broker.cluster.as_ref();
        let password = routes
            .and_then(|cluster| cluster.credentials.as_ref())
            .map(|one| &one.password);
        let secret = given.or_else(|| {
            let password = password.filter(|password| !password.expose().trim().is_empty() && !is_tls);
            password.cloned()
        });
        if secret.as_ref().is_some_and(|secret| secret.expose().trim().is_empty()) {
            return Err("cluster_members_secret is blank: it has nothing but white space".to_owned());
        }
        if secret.is_none() && !is_tls {
            let notice = "members of the cluster have neither a secret nor TLS: whoever reaches their port reads and changes everything; give \
                          -cluster_members_secret or -cluster_members_tls_cert";
            self.options.notices.push(notice.to_owned());
        }
        Ok(secret)
    }
}

/// The peers without this member, each once.
fn others(draft: &ClusteringDraft) -> Result<Vec<ClusterPeer>, String> {
    let mut others: Vec<ClusterPeer> = Vec::with_capacity(draft.peers.len());
    for peer in &draft.peers {
        if draft.name.as_ref() == Some(&peer.name) {
            continue;
        }
        match others.iter_mut().find(|other| other.name == peer.name) {
            None => others.push(peer.clone()),
            Some(other) if peer.address.is_none() || other.address == peer.address => {}
            Some(other) if other.address.is_none() => other.address.clone_from(&peer.address),
            Some(_) => {
                return Err(format!(
                    "-cluster_peers: {} stands there with two addresses: each member has a name of its own",
                    peer.name
                ));
            }
        }
    }
    let addresses: Vec<&MemberAddress> = others.iter().filter_map(|other| other.address.as_ref()).collect();
    let twice = addresses
        .iter()
        .enumerate()
        .find(|(place, address)| addresses[..*place].contains(address));
    match twice {
        Some((_, address)) => Err(format!(
            "-cluster_peers: {}:{} stands there with two names: each member has an address of its own",
            address.host, address.port
        )),
        None if others.len() >= crate::limits::CLUSTER_MEMBERS_MAX => Err(format!(
            "-cluster_peers: a cluster has at most {} members, this one included",
            crate::limits::CLUSTER_MEMBERS_MAX
        )),
        None => Ok(others),
    }
}

fn tls(cert: Option<PathBuf>, key: Option<PathBuf>, ca: Option<PathBuf>) -> Result<Option<MemberTls>, String> {
    match (cert, key, ca) {
        (Some(cert_file), Some(key_file), Some(ca_file)) => Ok(Some(MemberTls {
            cert_file,
            key_file,
            ca_file,
        })),
        (None, None, None) => Ok(None),
        _ => Err(
            "TLS between members needs a certificate, its key and authorities, because both sides show a certificate: give \
             -cluster_members_tls_cert, -cluster_members_tls_key and -cluster_members_tls_ca"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests;
