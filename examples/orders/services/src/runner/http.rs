//! A client for JSON over HTTP, one connection per request: all that the runner needs.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
pub(crate) use hyper::Method;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What is there; `None` when there is nothing.
pub(crate) async fn get(url: &str) -> anyhow::Result<Option<Value>> {
    match send(Method::GET, url, &Value::Null).await? {
        (404, _) => Ok(None),
        (200, answer) => Ok(Some(answer)),
        (status, answer) => bail!("GET {url}: {status} {answer}"),
    }
}

/// What came of a request to make something.
pub(crate) async fn post(url: &str, body: &Value) -> anyhow::Result<Value> {
    match send(Method::POST, url, body).await? {
        (201, answer) => Ok(answer),
        (status, answer) => bail!("POST {url}: {status} {answer}"),
    }
}

/// Status and body of an answer.
pub(crate) async fn send(method: Method, url: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
    let uri: Uri = url.parse().with_context(|| format!("URL {url:?}"))?;
    let host = uri.authority().with_context(|| format!("no host in {url:?}"))?.as_str();
    let stream = TcpStream::connect(host)
        .await
        .with_context(|| format!("connect to {host}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    driving.abort();
    let body = body.map_err(|error| anyhow::anyhow!("the answer of {url}: {error}"))?;
    Ok((status, serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null)))
}
