//! The list of columns of a sample: the one place that names them.
//!
//! A new column is one entry of `metrics!`: frames, blocks and aggregates then carry it. What
//! remains is where it is filled (the tracker) and where it is shown.

/// How a column's integers encode values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// A value at the tick, in steps of `numerator / denominator` of the public unit. Integers from
    /// [`FIRST_MISSING`] on stand for an unknown value. The division comes last, so that results
    /// are rounded once.
    Gauge { numerator: u32, denominator: u32 },
    /// The increase of a counter since the previous tick.
    Increment,
    /// Run key and state: see [`PackedSample`](super::packed::PackedSample).
    RunAndState,
}

/// From here on an integer of a gauge column is not a value.
pub(crate) const FIRST_MISSING: u32 = EXITED;
/// In a gauge column: the value is unknown.
pub(crate) const UNKNOWN: u32 = u32::MAX;
/// In the memory column: unknown because this tick's own reading found that the process has exited.
pub(crate) const EXITED: u32 = u32::MAX - 1;

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident: $encoding:expr;)+) => {
        /// A column of a sample, in the order in which frames and blocks store it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Metric {
            $($(#[$doc])* $name),+
        }

        impl Metric {
            /// All columns, in order.
            pub(crate) const ALL: [Self; Self::COUNT] = [$(Self::$name),+];
            /// The number of columns.
            pub(crate) const COUNT: usize = [$(stringify!($name)),+].len();

            /// How the column's integers encode values.
            pub(crate) const fn encoding(self) -> Encoding {
                match self {
                    $(Self::$name => $encoding),+
                }
            }
        }
    };
}

metrics! {
    /// CPU share of the reported process: thousandths of a percent of one core, shown in percent.
    Cpu: Encoding::Gauge { numerator: 1, denominator: super::units::CpuShare::PER_PERCENT };
    /// Resident memory of the reported process: KiB, shown in bytes.
    Memory: Encoding::Gauge { numerator: 1_024, denominator: 1 };
    /// Events.
    Events: Encoding::Increment;
    /// Crashes.
    Crashes: Encoding::Increment;
    /// The active run and the plugin's state.
    RunAndState: Encoding::RunAndState;
}

impl Metric {
    /// The value of one step in the public unit, as a fraction; 1 for columns that are not gauges.
    pub(crate) const fn step(self) -> (u32, u32) {
        match self.encoding() {
            Encoding::Gauge { numerator, denominator } => (numerator, denominator),
            Encoding::Increment | Encoding::RunAndState => (1, 1),
        }
    }
}
