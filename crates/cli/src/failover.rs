//! `server failover`: the active server of a fault-tolerance group hands over to another one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::readable::printable;

/// How long a hand-over may take, and how often to look whether it is over.
const FAILOVER_PATIENCE: Duration = Duration::from_secs(20);
const FAILOVER_LOOKS_EVERY: Duration = Duration::from_millis(50);

/// Has the server hand over, and waits until it is seen who serves after it.
pub(crate) async fn failover(connection: &Connection, output: &mut Output) -> Outcome {
    let ended = connection.ask("change.failover", &json!({})).await?;
    let ended = ended.get("tenure").and_then(Value::as_u64).unwrap_or(0);
    let deadline = tokio::time::Instant::now() + FAILOVER_PATIENCE;
    loop {
        // Between two tenures a server may have nothing to say.
        let answer = connection.ask("read.server", &json!({})).await.unwrap_or_default();
        let tenure = |pointer: &str| {
            let number = answer.pointer(pointer).and_then(Value::as_u64);
            number.filter(|number| *number > ended)
        };
        let serves = match (tenure("/fault_tolerance/active_tenure"), tenure("/tenure")) {
            (Some(tenure), _) => {
                let active = answer.pointer("/fault_tolerance/active").and_then(Value::as_str);
                Some((tenure, active.unwrap_or("another server").to_owned()))
            }
            (None, Some(tenure)) => Some((tenure, "the same server, as no other took over,".to_owned())),
            (None, None) => None,
        };
        if let Some((tenure, active)) = serves {
            if output.is_json() {
                return output.json(&json!({"ended": ended, "tenure": tenure, "active": active}));
            }
            let text = format!("Tenure {ended} was handed over: {active} serves under tenure {tenure}.");
            return output.line(&printable(&text));
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(Failure::failed(format!(
                "tenure {ended} was given up, and nobody has been seen to serve since"
            )));
        }
        tokio::time::sleep(FAILOVER_LOOKS_EVERY).await;
    }
}
