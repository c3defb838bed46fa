//! The services in use, and removed services that still have sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::admission::Admission;
use crate::log::event::Outcome;
use crate::model::ids::ServiceId;
use crate::model::plan::{Plan, Service};
use crate::session::StderrBudget;

#[derive(Debug)]
pub(super) struct Served {
    pub service: Arc<Service>,
    pub served: u64,
    pub refused: u64,
    pub failed: u64,
    pub stderr_budget: StderrBudget,
}

#[derive(Debug, Default)]
pub(super) struct Services {
    served: BTreeMap<ServiceId, Served>,
    /// Removed services that still have sessions. A service of the same name takes over the ID, so
    /// that its limits also count the old sessions.
    retired: Vec<(ServiceId, Arc<Service>)>,
    /// All services in the order of the file, including disabled ones.
    order: Vec<Arc<Service>>,
    last: usize,
}

impl Services {
    pub fn get(&self, id: ServiceId) -> Option<&Served> {
        self.served.get(&id)
    }

    pub fn plan(&self, id: ServiceId) -> Option<&Arc<Service>> {
        self.get(id).map(|served| &served.service)
    }

    pub fn name(&self, id: ServiceId) -> String {
        self.plan(id).map_or_else(String::new, |service| service.name.clone())
    }

    pub fn iter(&self) -> impl Iterator<Item = (ServiceId, &Served)> {
        self.served.iter().map(|(id, served)| (*id, served))
    }

    pub fn plans(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.served.values().map(|served| &served.service)
    }

    pub fn named(&self, name: &str) -> Option<(ServiceId, &Served)> {
        self.iter().find(|(_, served)| served.service.name == name)
    }

    pub fn len(&self) -> usize {
        self.served.len()
    }

    pub fn in_order(&self) -> &[Arc<Service>] {
        &self.order
    }

    pub fn retired(&self) -> &[(ServiceId, Arc<Service>)] {
        &self.retired
    }

    pub fn count(&mut self, id: ServiceId, outcome: Outcome) {
        let Some(served) = self.served.get_mut(&id) else { return };
        match outcome {
            Outcome::Served => served.served += 1,
            Outcome::Refused => served.refused += 1,
            Outcome::Failed => served.failed += 1,
        }
    }

    /// Forgets removed services whose sessions have all ended. Returns their IDs.
    pub fn forget_ended(&mut self, admission: &Admission) -> Vec<ServiceId> {
        let has_ended = |(id, _): &mut (ServiceId, _)| admission.live_of(*id) == 0;
        self.retired.extract_if(.., has_ended).map(|(id, _)| id).collect()
    }

    /// Returns the IDs in the plan's order. A service keeps its ID by its name.
    pub fn take(&mut self, plan: &Plan) -> Vec<ServiceId> {
        let mut before = std::mem::take(&mut self.served);
        let mut ids = Vec::new();
        for service in plan.enabled() {
            let known = before.iter().find(|(_, served)| served.service.name == service.name);
            let retired = || self.retired.iter().find(|(_, old)| old.name == service.name).map(|(id, _)| *id);
            let id = known.map(|(id, _)| *id).or_else(retired).unwrap_or_else(|| {
                self.last += 1;
                ServiceId(self.last)
            });
            let service = service.clone();
            let served = match before.remove(&id) {
                Some(served) => Served { service, ..served },
                None => {
                    Served { service, served: 0, refused: 0, failed: 0, stderr_budget: StderrBudget::new() }
                }
            };
            self.served.insert(id, served);
            self.retired.retain(|(other, _)| *other != id);
            ids.push(id);
        }
        self.retired.extend(before.into_iter().map(|(id, served)| (id, served.service)));
        self.order.clone_from(&plan.services);
        ids
    }
}
