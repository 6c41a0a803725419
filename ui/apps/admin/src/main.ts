// The operators' portal.
import { start, type Pages } from '@warp/kit';

const calls = () => import('./pages/calls.tsx');
const customers = () => import('./pages/customers.tsx');
const vendors = () => import('./pages/vendors.tsx');
const decks = () => import('./pages/decks.tsx');
const routing = () => import('./pages/routing.tsx');
const money = () => import('./pages/money.tsx');
const system = () => import('./pages/system.tsx');
const pages: Pages = {
  '/': [() => import('./pages/operations.tsx'), 'Operations'],
  '/calls': [calls, 'Calls'],
  '/calls/$id': [calls, 'CallPage'],
  '/live': [calls, 'Live'],
  '/live/$id': [calls, 'LivePage'],
  '/refused': [calls, 'Refused'],
  '/customers': [customers, 'Customers'],
  '/customers/$id': [customers, 'CustomerPage'],
  '/trunks': [customers, 'Trunks'],
  '/numbers': [customers, 'Numbers'],
  '/vendors': [vendors, 'Vendors'],
  '/vendors/$id': [vendors, 'VendorPage'],
  '/decks': [decks, 'Decks'],
  '/decks/$id': [decks, 'DeckPage'],
  '/decks/$id/$version': [decks, 'VersionPage'],
  '/partitions': [routing, 'Partitions'],
  '/exclusions': [routing, 'Exclusions'],
  '/route': [routing, 'RouteTester'],
  '/ledger': [money, 'Ledger'],
  '/accounts': [money, 'Accounts'],
  '/accounts/$id': [money, 'AccountPage'],
  '/leases': [money, 'Leases'],
  '/events': [system, 'Events'],
  '/audit': [system, 'Audit'],
  '/operators': [system, 'Operators'],
  '/keys': [system, 'Keys'],
};

function jump(text: string): string | null {
  const known: [RegExp, string][] = [
    [/^call_[0-9a-z]{26}$/, '/calls/'], [/^cus_[0-9a-z]{26}$/, '/customers/'], [/^vnd_[0-9a-z]{26}$/, '/vendors/'],
    [/^deck_[0-9a-z]{26}$/, '/decks/'], [/^ban_[0-9a-z]{26}$/, '/accounts/'],
  ];
  const found = known.find(([form]) => form.test(text));
  if (found) return found[1] + text;
  if (/^trk_[0-9a-z]{26}$/.test(text)) return `/calls?trunk=${text}`;
  if (/^\+?[0-9 ()-]{5,20}$/.test(text)) return `/calls?called=${encodeURIComponent(text.replace(/[ ()-]/g, ''))}`;
  if (/@/.test(text)) return `/calls?call_id=${encodeURIComponent(text)}`;
  return null;
}

start(
  {
    name: 'Admin',
    place: '/admin',
    api: '/api/v1/admin',
    nav: [
      { label: 'Traffic', items: [
        { label: 'Operations', to: '/', key: 'h' },
        { label: 'Calls', to: '/calls', needs: 'calls:read', key: 'c' },
        { label: 'Live calls', to: '/live', needs: 'calls:read', key: 'i' },
        { label: 'Refused sources', to: '/refused', needs: 'calls:read' },
        { label: 'Route tester', to: '/route', needs: 'route:test', key: 'r' },
      ] },
      { label: 'Customers', items: [
        { label: 'Customers', to: '/customers', needs: 'customers:read', key: 'u' },
        { label: 'Trunks', to: '/trunks', needs: 'trunks:read', key: 't' },
        { label: 'Numbers', to: '/numbers', needs: 'numbers:read', key: 'n' },
      ] },
      { label: 'Vendors and routing', items: [
        { label: 'Vendors', to: '/vendors', needs: 'vendors:read', key: 'v' },
        { label: 'Rate decks', to: '/decks', needs: 'decks:read', key: 'd' },
        { label: 'Partitions', to: '/partitions', needs: 'routing:read', key: 'p' },
        { label: 'Exclusions', to: '/exclusions', needs: 'routing:read', key: 'x' },
      ] },
      { label: 'Money', items: [
        { label: 'Accounts', to: '/accounts', needs: 'ledger:read', key: 'b' },
        { label: 'Ledger', to: '/ledger', needs: 'ledger:read', key: 'l' },
        { label: 'Leases', to: '/leases', needs: 'ledger:read' },
      ] },
      { label: 'System', items: [
        { label: 'Events', to: '/events', needs: 'events:read', key: 'e' },
        { label: 'Audit log', to: '/audit', needs: 'audit:read', key: 'a' },
        { label: 'Operators', to: '/operators', needs: 'users:read' },
        { label: 'API keys', to: '/keys', needs: 'keys:read', key: 'k' },
      ] },
    ],
  },
  pages,
  jump,
);
