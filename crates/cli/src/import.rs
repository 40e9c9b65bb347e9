//! `seaway import`: messages as lines of JSON go to a server, or become a store.

mod arguments;
mod publishing;

use seaway_adoption::{Cipher, Encryption, Error, Importer, KeptMessage};
use serde_json::json;

pub(crate) use self::arguments::ImportArguments;
use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::jsonl::{Record, Source};
use crate::key;
use crate::output::Output;
use crate::progress::counting_bar;
use crate::readable::{counted, printable};

/// Publishes them.
pub(crate) async fn into_server(arguments: &ImportArguments, connection: &Connection, output: &mut Output) -> Outcome {
    publishing::run(arguments, connection, output).await
}

/// Stores one as its line says; what is wrong with that otherwise.
fn keep(record: &Record<'_>, importer: &mut Importer) -> Result<(), String> {
    let (payload, reply) = (record.payload()?, record.reply()?);
    let Some(timestamp_ns) = record.timestamp_ns() else {
        return Err("it has no timestamp, and a store keeps times".to_owned());
    };
    let message = KeptMessage {
        channel: record.channel.as_bytes(),
        sequence: record.sequence,
        timestamp_ns,
        reply: &reply,
        data: &payload,
    };
    importer.message(&message).map_err(|error| error.to_string())
}

/// Makes a store of them.
pub(crate) fn into_store(arguments: &ImportArguments, output: &mut Output) -> Outcome {
    let (Some(directory), Some(cluster_id)) = (&arguments.dir, &arguments.cluster_id) else {
        return Err(Failure::usage(
            "a store needs a directory and a cluster ID: --dir DIR --cluster-id ID",
        ));
    };
    let failed = |error: Error| Failure::failed(error.to_string());
    let encryption = encryption(arguments)?;
    let mut source = Source::open(&arguments.file)?;
    let mut importer = Importer::begin(directory, cluster_id, encryption).map_err(failed)?;
    let bar = counting_bar();
    while let Some(record) = source.next()? {
        bar.inc(1);
        let problem = keep(&record, &mut importer).err();
        drop(record);
        if let Some(problem) = problem {
            return Err(source.wrong(&problem));
        }
    }
    let imported = importer.finish().map_err(failed)?;
    bar.finish_and_clear();
    if output.is_json() {
        return output.json(&json!(imported));
    }
    if imported.filled > 0 {
        let filled = counted(imported.filled, "missing message");
        output.line(&format!("Empty messages are in the place of {filled}."))?;
    }
    let shown = directory.display();
    output.line(&format!(
        "{shown} has {} in {}. Start it with: seaway -cid {} -dir {shown}",
        counted(imported.messages + imported.filled, "message"),
        counted(imported.channels, "channel"),
        printable(cluster_id)
    ))
}

fn encryption(arguments: &ImportArguments) -> Outcome<Option<Encryption>> {
    let Some(cipher) = &arguments.encrypt else {
        return Ok(None);
    };
    let cipher = match cipher.as_str() {
        "chacha" => Cipher::ChaCha20Poly1305,
        _ => Cipher::Aes256Gcm,
    };
    let Some(key) = key::read(arguments.encryption_key_file.as_deref())? else {
        return Err(Failure::usage(format!(
            "--encrypt needs a key: name its file with --encryption-key-file, or set {}",
            key::VARIABLE
        )));
    };
    let encryption = Encryption::new(cipher, key);
    encryption.map(Some).map_err(|error| Failure::failed(error.to_string()))
}
