// All the staff's pages.

import type { Routes } from '../routes.ts';
import { abusePages } from './admin-abuse.ts';
import { announcementPages } from './admin-announcements.ts';
import { auditPages } from './admin-audit.ts';
import { dashboardPages } from './admin-dashboard.ts';
import { poolPages } from './admin-pools.ts';
import { invitationPages, staffPages } from './admin-staff.ts';
import { tunnelDeskPages } from './admin-tunnels.ts';
import { userPages } from './admin-users.ts';

export const ADMIN_PAGES: readonly ((routes: Routes) => void)[] = [
  dashboardPages,
  userPages,
  tunnelDeskPages,
  poolPages,
  announcementPages,
  invitationPages,
  staffPages,
  auditPages,
  abusePages,
];
