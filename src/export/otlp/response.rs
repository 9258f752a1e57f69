//! The response of a receiver.

use prost::Message as _;

use super::message::ExportResponse;

/// The meaning of the response to a request, by the
/// [specification](https://opentelemetry.io/docs/specs/otlp/#otlphttp-response).
///
/// [Acknowledge](super::Encoder::acknowledge) the request unless it is
/// [`RetryLater`](Self::RetryLater).
///
/// ```
/// use plugmeter::otlp::Delivery;
///
/// assert_eq!(Delivery::of_response(200, b""), Delivery::Accepted);
/// assert_eq!(Delivery::of_response(503, b"busy"), Delivery::RetryLater);
/// assert_eq!(Delivery::of_response(400, b"what?"), Delivery::Refused);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver has accepted all points.
    Accepted,
    /// The receiver has accepted the request without some of its points. It must not be sent again.
    PartlyRejected {
        /// The number of rejected points; may be 0 with a warning in `message`.
        points: u64,
        /// The receiver's reason, in English.
        message: String,
    },
    /// The receiver will never accept this request: status 4xx or 5xx, apart from those of
    /// [`RetryLater`](Self::RetryLater), or a redirection that the client has not followed. It must not be
    /// sent again.
    Refused,
    /// The receiver is overloaded or not available: status 429, 502, 503 or 504. A host
    /// treats a connection that fails, or a receiver that does not respond in time, in the same way.
    RetryLater,
}

impl Delivery {
    /// Interprets the status and the body of a response. A body that is no message of OTLP is ignored.
    #[must_use]
    pub fn of_response(status: u16, body: &[u8]) -> Self {
        match status {
            200..300 => {
                let response = ExportResponse::decode(body).unwrap_or_default();
                match response.partial_success {
                    Some(partial)
                        if partial.rejected_data_points > 0
                            || !partial.error_message.is_empty() =>
                    {
                        Self::PartlyRejected {
                            points: u64::try_from(partial.rejected_data_points).unwrap_or(0),
                            message: partial.error_message,
                        }
                    }
                    Some(_) | None => Self::Accepted,
                }
            }
            429 | 502..=504 => Self::RetryLater,
            _ => Self::Refused,
        }
    }
}
