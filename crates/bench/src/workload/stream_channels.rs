//! S3: publish over many channels; the curve should be flat.

use super::stream_publish::{S1, channels, fill, publish, report};
use super::{Needs, Workload};
use crate::point::Point;

/// S3: channel scaling.
pub(super) const S3: Workload = Workload {
    name: "S3",
    about: "channel scaling: S1 over --channels that exist already, in turn or with --zipf",
    needs: Needs::Streaming,
    parameters: S1.parameters,
    defaults: || Point {
        channels: 1_000,
        ..Point::default()
    },
    channels: |point| point.channels,
    run: |context, point| {
        let channels = channels(context, point);
        fill(context, point, &channels)?;
        let (measured, published) = publish(context, point, &channels)?;
        Ok(report(point, &measured, &published))
    },
};
