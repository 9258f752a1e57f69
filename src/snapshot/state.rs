//! The state of a plugin, and its change when the process exits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::run::ExitClass;

/// The state of a plugin, as last reported by the host or detected by the sampler.
///
/// A registered plugin is [`Stopped`](Self::Stopped) at first. The host changes the state with
/// [`Plugin::started`](crate::Plugin::started), [`Plugin::set_state`](crate::Plugin::set_state) and
/// the other reports; the sampler changes it when it detects that the process has exited.
///
/// ```
/// use plugmeter::PluginState;
///
/// assert_eq!(PluginState::Running.to_string(), "RUNNING");
/// assert_eq!("CRASHED".parse(), Ok(PluginState::Crashed));
/// assert!("crashed".parse::<PluginState>().is_err());
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PluginState {
    /// No process: not started yet, or ended cleanly, or ended with an unknown status.
    Stopped,
    /// The host is starting the process.
    Starting,
    /// The process is running.
    Running,
    /// The process is running, but the host considers it unhealthy.
    Unhealthy,
    /// The host is stopping the process: its exit is not a crash, whatever its status.
    Stopping,
    /// The process exited uncleanly, and the host had not announced it by [`Stopping`](Self::Stopping).
    Crashed,
    /// The host has given up the plugin or could not start it, or the reported pid was rejected: see
    /// [`Plugin::started`](crate::Plugin::started).
    Failed,
}

impl PluginState {
    /// All states, in the order of the declaration.
    pub(crate) const ALL: [Self; 7] = [
        Self::Stopped,
        Self::Starting,
        Self::Running,
        Self::Unhealthy,
        Self::Stopping,
        Self::Crashed,
        Self::Failed,
    ];

    /// The name in JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Unhealthy => "UNHEALTHY",
            Self::Stopping => "STOPPING",
            Self::Crashed => "CRASHED",
            Self::Failed => "FAILED",
        }
    }

    /// The state after the sampler has detected that the process of the active run has exited.
    pub(crate) const fn after_exit(self, exit: ExitClass) -> Self {
        match (self, exit) {
            (Self::Stopping, ExitClass::Clean | ExitClass::Unclean | ExitClass::Unknown) => {
                Self::Stopped
            }
            // An unknown exit is no evidence of a crash.
            (
                Self::Starting | Self::Running | Self::Unhealthy,
                ExitClass::Clean | ExitClass::Unknown,
            ) => Self::Stopped,
            (Self::Starting | Self::Running | Self::Unhealthy, ExitClass::Unclean) => Self::Crashed,
            (
                Self::Stopped | Self::Crashed | Self::Failed,
                ExitClass::Clean | ExitClass::Unclean | ExitClass::Unknown,
            ) => self,
        }
    }

    /// The state after a status has arrived late and shows that the newest run has crashed.
    pub(crate) const fn after_late_crash(self) -> Self {
        match self {
            Self::Stopped => Self::Crashed,
            // Reported by the host since.
            Self::Starting
            | Self::Running
            | Self::Unhealthy
            | Self::Stopping
            | Self::Crashed
            | Self::Failed => self,
        }
    }

    /// The number in a packed sample: 1 to 7, so that zero can stand for "no sample".
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Stopped => 1,
            Self::Starting => 2,
            Self::Running => 3,
            Self::Unhealthy => 4,
            Self::Stopping => 5,
            Self::Crashed => 6,
            Self::Failed => 7,
        }
    }

    /// The state with this number in a packed sample; `None` for zero.
    pub(crate) const fn from_code(code: u32) -> Option<Self> {
        match code {
            1..=7 => Some(Self::ALL[code as usize - 1]),
            _ => None,
        }
    }
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is not the name of a [`PluginState`].
///
/// ```
/// let error = "SLEEPY".parse::<plugmeter::PluginState>().unwrap_err();
/// assert_eq!(error.to_string(), "\"SLEEPY\" is not a plugin state");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseStateError(String);

impl fmt::Display for ParseStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a plugin state", self.0)
    }
}

impl std::error::Error for ParseStateError {}

impl FromStr for PluginState {
    type Err = ParseStateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let state = Self::ALL.into_iter().find(|state| state.as_str() == text);
        state.ok_or_else(|| ParseStateError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_round_trips_through_code_name_and_json() {
        for (i, state) in PluginState::ALL.into_iter().enumerate() {
            assert_eq!(state.code() as usize, i + 1);
            assert_eq!(PluginState::from_code(state.code()), Some(state));
            assert_eq!(state.as_str().parse(), Ok(state));
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(json, format!("\"{state}\""));
            assert_eq!(serde_json::from_str::<PluginState>(&json).unwrap(), state);
        }
        assert_eq!(PluginState::from_code(0), None);
        assert_eq!(PluginState::from_code(8), None);
    }

    #[test]
    fn announced_exit_is_never_shown_as_crash() {
        for exit in [ExitClass::Clean, ExitClass::Unclean, ExitClass::Unknown] {
            assert_eq!(PluginState::Stopping.after_exit(exit), PluginState::Stopped);
        }
    }
}
