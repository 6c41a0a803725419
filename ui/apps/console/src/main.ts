// The customers' portal. It knows routes by rank and reason only: who carries a call, and for how much, is not in its API.
import { start, type Pages } from '@warp/kit';

const calls = () => import('./pages/calls.tsx');
const trunks = () => import('./pages/trunks.tsx');
const developers = () => import('./pages/developers.tsx');
const money = () => import('./pages/money.tsx');
const people = () => import('./pages/people.tsx');
const pages: Pages = {
  '/': [() => import('./pages/home.tsx'), 'Home'],
  '/calls': [calls, 'Calls'],
  '/calls/$id': [calls, 'CallPage'],
  '/live': [calls, 'Live'],
  '/live/$id': [calls, 'LivePage'],
  '/trunks': [trunks, 'Trunks'],
  '/trunks/$id': [trunks, 'TrunkPage'],
  '/numbers': [() => import('./pages/numbers.tsx'), 'Numbers'],
  '/numbers/$id': [() => import('./pages/numbers.tsx'), 'NumberPage'],
  '/route': [() => import('./pages/route.tsx'), 'RouteTester'],
  '/billing': [money, 'Billing'],
  '/webhooks': [developers, 'Webhooks'],
  '/webhooks/$id': [developers, 'WebhookPage'],
  '/webhooks/$id/$event': [developers, 'DeliveryPage'],
  '/keys': [developers, 'Keys'],
  '/users': [people, 'Users'],
  '/events': [people, 'Events'],
  '/audit': [people, 'Audit'],
};

/** An id or a number that somebody typed. */
function jump(text: string): string | null {
  if (/^call_[0-9a-z]{26}$/.test(text)) return `/calls/${text}`;
  if (/^trk_[0-9a-z]{26}$/.test(text)) return `/trunks/${text}`;
  if (/^num_[0-9a-z]{26}$/.test(text)) return `/numbers/${text}`;
  if (/^whk_[0-9a-z]{26}$/.test(text)) return `/webhooks/${text}`;
  if (/^\+?[0-9 ()-]{5,20}$/.test(text)) return `/calls?called=${encodeURIComponent(text.replace(/[ ()-]/g, ''))}`;
  if (/@/.test(text)) return `/calls?call_id=${encodeURIComponent(text)}`;
  return null;
}

start(
  {
    name: 'Console',
    place: '/console',
    api: '/api/v1',
    nav: [
      { label: 'Voice', items: [
        { label: 'Home', to: '/', key: 'h' },
        { label: 'Calls', to: '/calls', needs: 'calls:read', key: 'c' },
        { label: 'Live calls', to: '/live', needs: 'calls:read', key: 'l' },
        { label: 'Trunks', to: '/trunks', needs: 'trunks:read', key: 't' },
        { label: 'Numbers', to: '/numbers', needs: 'numbers:read', key: 'n' },
        { label: 'Route tester', to: '/route', needs: 'route:test', key: 'r' },
      ] },
      { label: 'Money', items: [{ label: 'Usage and balance', to: '/billing', needs: 'ledger:read', key: 'b' }] },
      { label: 'Developers', items: [
        { label: 'Webhooks', to: '/webhooks', needs: 'webhooks:read', key: 'w' },
        { label: 'Events', to: '/events', needs: 'events:read', key: 'e' },
        { label: 'API keys', to: '/keys', needs: 'keys:read', key: 'k' },
      ] },
      { label: 'Organisation', items: [
        { label: 'Users', to: '/users', needs: 'users:read', key: 'u' },
        { label: 'Audit log', to: '/audit', needs: 'audit:read', key: 'a' },
      ] },
    ],
  },
  pages,
  jump,
);
