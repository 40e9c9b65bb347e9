//! The registered clients, and the ways to find one.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, Index, IndexMut};

use bytes::Bytes;
use foldhash::fast::FixedState;
use slab::Slab;

use super::client::{Client, Closing, Gone};
use super::keys::ClientKey;
use crate::facts::ClientFact;

/// See the module. Every client is found under its name until it has gone, and under its connection ID until it closes.
#[derive(Debug)]
pub(crate) struct Clients {
    clients: Slab<Client>,
    names: BTreeMap<Bytes, ClientKey>,
    /// Of two clients with one connection ID the later is found. Looked up, never walked.
    connections: HashMap<Bytes, ClientKey, FixedState>,
    /// How many were registered so far.
    registered: u64,
}

impl Clients {
    pub(crate) fn new(hasher: FixedState) -> Clients {
        Clients {
            clients: Slab::new(),
            names: BTreeMap::new(),
            connections: HashMap::with_hasher(hasher),
            registered: 0,
        }
    }

    /// Adds a client. Its name must be free.
    pub(crate) fn insert(&mut self, fact: ClientFact) -> ClientKey {
        self.registered += 1;
        let (name, conn_id) = (fact.name.clone(), fact.conn_id.clone());
        let key = ClientKey(self.clients.insert(Client::new(self.registered, fact)));
        let before = self.names.insert(name, key);
        assert!(before.is_none(), "a name belongs to one client");
        if !conn_id.is_empty() {
            self.connections.insert(conn_id, key);
        }
        key
    }

    /// Nothing is accepted from a client from now on.
    pub(crate) fn begin_close(&mut self, key: ClientKey, closing: Closing) {
        let client = &mut self.clients[key.0];
        client.begin_close(closing);
        let conn_id = &client.fact().conn_id;
        if self.connections.get(conn_id) == Some(&key) {
            self.connections.remove(conn_id);
        }
    }

    /// Takes out a client that was closed and has no subscription left.
    pub(crate) fn remove(&mut self, key: ClientKey) -> Gone {
        let client = self.clients.remove(key.0);
        assert!(client.is_closing() && client.subscriptions().len() == 0);
        self.names.remove(&client.fact().name);
        client.into_gone()
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// The client of that name, also one that is being closed.
    pub(crate) fn find(&self, name: &[u8]) -> Option<ClientKey> {
        self.names.get(name).copied()
    }

    /// The client of that name from which something is accepted.
    #[inline]
    pub(crate) fn find_open(&self, name: &[u8]) -> Option<ClientKey> {
        self.find(name).filter(|key| !self[*key].is_closing())
    }

    /// The client with that connection ID, from which something is accepted.
    #[inline]
    pub(crate) fn find_connection(&self, conn_id: &[u8]) -> Option<ClientKey> {
        self.connections.get(conn_id).copied()
    }

    /// Whether it is still the client with that number.
    pub(crate) fn is(&self, key: ClientKey, number: u64) -> bool {
        self.clients.get(key.0).is_some_and(|client| client.number() == number)
    }

    /// Names and clients in the order of the names, from there on.
    pub(crate) fn from(&self, start: Bound<&[u8]>) -> impl Iterator<Item = (&Bytes, ClientKey)> {
        let range = self.names.range::<[u8], _>((start, Bound::Unbounded));
        range.map(|(name, key)| (name, *key))
    }
}

impl Index<ClientKey> for Clients {
    type Output = Client;

    #[inline]
    fn index(&self, key: ClientKey) -> &Client {
        &self.clients[key.0]
    }
}

impl IndexMut<ClientKey> for Clients {
    #[inline]
    fn index_mut(&mut self, key: ClientKey) -> &mut Client {
        &mut self.clients[key.0]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Register { name: u8, connection: u8 },
        Close(u8),
        Remove(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0u8..6, 0u8..4).prop_map(|(name, connection)| Step::Register { name, connection }),
            2 => (0u8..6).prop_map(Step::Close),
            2 => (0u8..6).prop_map(Step::Remove),
        ]
    }

    /// Connection 0 is none: a client of before protocol 1.
    fn fact(name: u8, connection: u8) -> ClientFact {
        ClientFact {
            name: Bytes::from(vec![name]),
            conn_id: Bytes::from(vec![connection; usize::from(connection > 0)]),
            ..ClientFact::default()
        }
    }

    proptest! {
        #[test]
        fn whoever_is_there_is_found_and_nobody_else(steps in proptest::collection::vec(step(), 0..60)) {
            let mut clients = Clients::new(FixedState::with_seed(1));
            // By name: key, number, connection, whether it closes.
            let mut model: BTreeMap<u8, (ClientKey, u64, u8, bool)> = BTreeMap::new();
            let mut owners: BTreeMap<u8, u8> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Register { name, connection } => {
                        if model.contains_key(&name) {
                            continue;
                        }
                        let key = clients.insert(fact(name, connection));
                        model.insert(name, (key, clients[key].number(), connection, false));
                        if connection > 0 {
                            owners.insert(connection, name);
                        }
                    }
                    Step::Close(name) => {
                        if let Some(client) = model.get_mut(&name).filter(|client| !client.3) {
                            client.3 = true;
                            clients.begin_close(client.0, Closing::ByServer);
                            owners.retain(|_, owner| *owner != name);
                        }
                    }
                    Step::Remove(name) => {
                        if let Some(client) = model.get(&name).copied().filter(|client| client.3) {
                            model.remove(&name);
                            prop_assert_eq!(&clients.remove(client.0).fact.name[..], &[name]);
                            prop_assert!(!clients.is(client.0, client.1));
                        }
                    }
                }
                prop_assert_eq!(clients.len(), model.len());
                for name in 0..6 {
                    let client = model.get(&name);
                    prop_assert_eq!(clients.find(&[name]), client.map(|client| client.0));
                    let open = client.filter(|client| !client.3);
                    prop_assert_eq!(clients.find_open(&[name]), open.map(|client| client.0));
                    prop_assert!(client.is_none_or(|client| clients.is(client.0, client.1)));
                }
                for connection in 1..4 {
                    let owner = owners.get(&connection).map(|name| model[name].0);
                    prop_assert_eq!(clients.find_connection(&[connection]), owner);
                }
                let names = clients.from(Bound::Unbounded).map(|(name, key)| (name[0], key));
                prop_assert!(names.eq(model.iter().map(|(name, client)| (*name, client.0))));
            }
        }
    }
}
