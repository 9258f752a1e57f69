//! The registered names and their handles.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::plugin::{Plugin, ReportClock};
use crate::error::RegisterError;
use crate::name::check_name;
use crate::sync::command::{Command, CommandSender, PluginId};
use crate::sync::counter::EventCounter;

/// The most plugins that may be registered at the same time.
const MAX_PLUGINS: usize = 65_536;

/// The registered names. Its lock is taken by threads that register, remove and look up handles,
/// never by the sampler.
pub(crate) struct Registry {
    sender: Arc<CommandSender>,
    clock: ReportClock,
    state: Mutex<RegistryState>,
}

/// Names of an earlier collector that are not registered yet, each with the id and the counter of its first
/// registration.
pub(crate) type RestoredNames =
    HashMap<Arc<str>, (PluginId, EventCounter), foldhash::fast::RandomState>;

struct RegistryState {
    plugins: HashMap<Arc<str>, Plugin, foldhash::fast::RandomState>,
    restored: RestoredNames,
    last_id: u64,
    is_open: bool,
}

impl Registry {
    /// A registry in which the first registration of a restored name continues an earlier one.
    pub(crate) fn new(
        sender: Arc<CommandSender>,
        clock: ReportClock,
        restored: RestoredNames,
    ) -> Self {
        let last_id = restored.values().map(|(id, _)| id.0).max().unwrap_or(0);
        let plugins = HashMap::default();
        let state = RegistryState { plugins, restored, last_id, is_open: true };
        Self { sender, clock, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, RegistryState> {
        // No operation under the lock can leave the state inconsistent, so poisoning is ignored.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register(self: &Arc<Self>, name: &str) -> Result<Plugin, RegisterError> {
        check_name(name)?;
        // In a forked child the lock may be held by a thread that does not exist there.
        if !self.sender.in_owner_process() {
            return Err(RegisterError::Stopped);
        }
        let mut state = self.lock();
        let RegistryState { plugins, restored, last_id, is_open } = &mut *state;
        if !*is_open || self.sender.is_closed() {
            return Err(RegisterError::Stopped);
        }
        let is_full = plugins.len() >= MAX_PLUGINS;
        match plugins.entry(Arc::from(name)) {
            Entry::Occupied(_) => Err(RegisterError::AlreadyRegistered { name: name.to_owned() }),
            Entry::Vacant(_) if is_full => Err(RegisterError::TooManyPlugins { max: MAX_PLUGINS }),
            Entry::Vacant(vacant) => {
                let (id, events) = restored.remove(vacant.key()).unwrap_or_else(|| {
                    *last_id += 1;
                    (PluginId(*last_id), EventCounter::new())
                });
                let name = Arc::clone(vacant.key());
                let (sender, registry) = (Arc::clone(&self.sender), Arc::downgrade(self));
                let plugin = Plugin::new(name, id, sender, registry, self.clock, events);
                // Sent under the lock, so that a removal and the next registration of a name reach
                // the sampler in their order.
                self.sender.send(Command::Register {
                    id,
                    name: Arc::clone(vacant.key()),
                    events: plugin.events().clone(),
                });
                Ok(vacant.insert(plugin).clone())
            }
        }
    }

    pub(crate) fn plugin(&self, name: &str) -> Option<Plugin> {
        if !self.sender.in_owner_process() {
            return None;
        }
        self.lock().plugins.get(name).cloned()
    }

    /// Frees the name, if it still belongs to the plugin `id`.
    pub(crate) fn remove(&self, name: &str, id: PluginId) {
        if !self.sender.in_owner_process() {
            return;
        }
        let mut state = self.lock();
        if state.is_open && state.plugins.get(name).is_some_and(|plugin| plugin.id() == id) {
            state.plugins.remove(name);
            self.sender.send(Command::Remove(id));
        }
    }

    /// From now on every registration fails.
    pub(crate) fn close(&self) {
        self.lock().is_open = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(sender: CommandSender) -> (Arc<Registry>, Arc<CommandSender>) {
        let sender = Arc::new(sender);
        (Arc::new(Registry::new(Arc::clone(&sender), || None, RestoredNames::default())), sender)
    }

    /// A disabled collector registers plugins although it has no sampler.
    #[test]
    fn registration_fails_once_sampler_is_gone() {
        let (sender, _commands) = CommandSender::new(Box::new(|| ()));
        let (sampled, sender) = registry(sender);
        assert!(sampled.register("before").is_ok());
        sender.close();
        assert_eq!(sampled.register("after").unwrap_err(), RegisterError::Stopped);
        let (disabled, _sender) = registry(CommandSender::disabled());
        assert!(disabled.register("dice").is_ok());
    }
}
