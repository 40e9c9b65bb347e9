//! Arbitrary bytes through every decoder of the streaming protocol: none panics, and the borrowed views agree with the
//! generated types.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seaway_stan_protocol::messages::{
    Ack, CloseRequest, ConnectRequest, MsgProto, Ping, PubMsg, SubscriptionRequest, UnsubscribeRequest,
};
use seaway_stan_protocol::{AckView, Message, MessageView, PubMsgView, is_control_message};

fuzz_target!(|message: &[u8]| {
    match (PubMsgView::decode(message), PubMsg::decode(message)) {
        (Ok(view), Ok(generated)) => {
            assert_eq!(view.client_id, &generated.client_id[..]);
            assert_eq!(view.guid, &generated.guid[..]);
            assert_eq!(view.subject, &generated.subject[..]);
            assert_eq!(view.reply, &generated.reply[..]);
            assert_eq!(view.data, &generated.data[..]);
            assert_eq!(view.conn_id, &generated.conn_id[..]);
        }
        (view, generated) => assert!(view.is_err() && generated.is_err()),
    }
    match (AckView::decode(message), Ack::decode(message)) {
        (Ok(view), Ok(generated)) => {
            assert_eq!(view.subject, &generated.subject[..]);
            assert_eq!(view.sequence, generated.sequence);
        }
        (view, generated) => assert!(view.is_err() && generated.is_err()),
    }
    assert_eq!(MessageView::decode(message).is_ok(), MsgProto::decode(message).is_ok());
    let _ = is_control_message(message);
    let _ = ConnectRequest::decode(message);
    let _ = SubscriptionRequest::decode(message);
    let _ = UnsubscribeRequest::decode(message);
    let _ = CloseRequest::decode(message);
    let _ = Ping::decode(message);
});
