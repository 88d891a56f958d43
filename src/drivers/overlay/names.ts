/** Interfaces in each network's own namespace. */
export const bridge = "br0";
export const vxlan = "vxlan0";
/** Leaf bridges and the cables to them. */
export const leafNames = (leaf: number) => ({ bridge: `br${leaf}`, up: `up${leaf}`, down: `down${leaf}` });
