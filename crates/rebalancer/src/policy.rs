//! Policies: what decides who should hold what.

use crate::{Cluster, Plan};

/// Decides who should hold which partition.
///
/// Implementations must be pure: equal clusters give equal plans. They must plan nothing on a cluster to which their own plan was
/// applied, never give a node a second copy of a partition, and never give anything to a node that does not
/// [accept](crate::Node::accepts) it.
pub trait Policy: std::fmt::Debug + Send + Sync {
    /// Returns the moves that lead from the cluster as it is to what the policy wants.
    #[doc(alias = "calculatePlan")]
    fn plan(&self, cluster: &Cluster) -> Plan;
}

impl<P: Policy + ?Sized> Policy for &P {
    fn plan(&self, cluster: &Cluster) -> Plan {
        (**self).plan(cluster)
    }
}

impl<P: Policy + ?Sized> Policy for Box<P> {
    fn plan(&self, cluster: &Cluster) -> Plan {
        (**self).plan(cluster)
    }
}

impl<P: Policy + ?Sized> Policy for std::sync::Arc<P> {
    fn plan(&self, cluster: &Cluster) -> Plan {
        (**self).plan(cluster)
    }
}

#[cfg(test)]
mod minimal;
#[cfg(test)]
mod tests;
