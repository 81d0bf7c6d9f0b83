// What the wallet shows where its server can not be reached: one page that says so, and the files that every page needs.
//
// A page with what somebody owes is never kept. It is always asked for anew, and nothing of it stays in the browser
// when the browser is logged out.
"use strict";

const SHELL = [{% for name in files %}"{{ static(name) }}", {% endfor %}"{{ page }}"];
const NAME = "offset-wallet-{{ version }}";
const OURS = "offset-wallet-";

async function keepShell() {
  const cache = await caches.open(NAME);
  await cache.addAll(SHELL.map((path) => new Request(path, { cache: "reload" })));
  await self.skipWaiting();
}

async function dropOthers() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(OURS) && name !== NAME).map((name) => caches.delete(name)));
  await self.clients.claim();
}

async function openPage(request) {
  try {
    return await fetch(request);
  } catch {
    return (await caches.match("{{ page }}")) ?? Response.error();
  }
}

async function openFile(request) {
  return (await caches.match(request)) ?? fetch(request);
}

self.addEventListener("install", (event) => event.waitUntil(keepShell()));
self.addEventListener("activate", (event) => event.waitUntil(dropOthers()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  if (request.mode === "navigate") event.respondWith(openPage(request));
  else if (new URL(request.url).pathname.startsWith("/static/")) event.respondWith(openFile(request));
});
