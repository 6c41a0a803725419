// What both portals share.
export * from './call.tsx';
export * from './form.tsx';
export * from './format.ts';
export * from './ladder.tsx';
export * from './list.tsx';
export * from './live.tsx';
export * from './parts.tsx';
export * from './portal.tsx';
export * from './shell.tsx';
export * from './start.tsx';
export * from './theme.ts';
