//! Any status and any bytes as the response to a request of OTLP: no panic; the status decides, and the
//! body only about points that were rejected.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plugmeter::otlp::Delivery;

fuzz_target!(|response: (u16, &[u8])| {
    let (status, body) = response;
    let delivery = Delivery::of_response(status, body);
    match status {
        200..300 => {
            assert!(matches!(delivery, Delivery::Accepted | Delivery::PartlyRejected { .. }));
            assert!(!body.is_empty() || delivery == Delivery::Accepted);
            if let Delivery::PartlyRejected { points, message } = delivery {
                assert!(points <= i64::MAX as u64);
                assert!(message.len() <= body.len());
            }
        }
        429 | 502..=504 => assert_eq!(delivery, Delivery::RetryLater),
        _ => assert_eq!(delivery, Delivery::Refused),
    }
});
