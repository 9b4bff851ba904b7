// A tiny model beside a larger one that holds its parameters among random ones: what masked
// structure growth starts from. Written without the program's growth operators, as their judge.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "gda/model/growth_state.h"
#include "support/tiny_model.h"

namespace gda::test {

// Which coordinates of the larger model are new. Heads are counted in the rows of q, k and v.
struct Growth {
  ModelConfig from;
  ModelConfig to;
  GrowthMask mask;
  std::vector<IndexRange> query_heads, key_heads, value_heads;
};

inline bool in(const std::vector<IndexRange>& ranges, std::int64_t i) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [i](const IndexRange& range) { return range.begin <= i && i < range.end; });
}

// New heads stand at the end of each K/V group, so in the middle of the axis.
inline void grow_heads(Growth& growth) {
  AttentionConfig& to = growth.to.attention;
  if (to.type == AttentionType::grouped_differential) {  // ratio 3 to 4; stripes of signal heads
                                                         // and a noise head
    to.signal_heads = 8;
    growth.mask.heads = {{3, 4}, {7, 8}};
    growth.query_heads = {{3, 4}, {8, 9}};
  } else if (to.type ==
             AttentionType::differential) {  // a stripe of a signal and a noise head to each group
    to.signal_heads = 4;
    to.noise_heads = 4;
    growth.mask.heads = {{1, 2}, {3, 4}};
    growth.query_heads = {{2, 4}, {6, 8}};
  } else {  // two heads a group to three
    to.num_attention_heads = 6;
    growth.mask.heads = {{2, 3}, {5, 6}};
    const bool pairs = to.type == AttentionType::differential_v2;  // two query heads give one
    growth.query_heads = pairs ? std::vector<IndexRange>{{4, 6}, {10, 12}} : growth.mask.heads;
  }
}

// A third K/V group of softmax attention, with its heads.
inline void grow_groups(Growth& growth) {
  growth.to.attention.num_attention_heads = 6;
  growth.to.attention.num_key_value_heads = 3;
  growth.mask.heads = {{4, 6}};
  growth.query_heads = growth.mask.heads;
  growth.key_heads = {{2, 3}};
  growth.value_heads = {{2, 3}};
}

// part: hidden, feed_forward, heads, groups (softmax), layers, or all (without groups).
inline Growth tiny_growth(const std::string& attention, const std::string& act, bool tied,
                          const std::string& part = "all") {
  Growth growth;
  growth.from = tiny_config(attention, act, tied);
  growth.to = growth.from;
  const auto grows = [&](const char* axis) { return part == axis || part == "all"; };
  if (grows("hidden")) {
    growth.to.hidden_size = 17;
    growth.mask.hidden = {{4, 6}, {14, 17}};
  }
  if (grows("feed_forward")) {
    growth.to.intermediate_size = 29;
    growth.mask.feed_forward = {{20, 29}};
  }
  if (grows("heads")) grow_heads(growth);
  if (part == "groups") grow_groups(growth);
  if (grows("layers")) {
    growth.to.num_hidden_layers = 4;
    growth.mask.layers = {{1, 2}, {3, 4}};
    if (growth.to.attention.is_differential()) {
      growth.to.lambda_init = {growth.from.lambda_init_of(0), 0.5, growth.from.lambda_init_of(1),
                               0.6};
    }
  }
  return growth;
}

// Whether coordinate i of an axis of the larger model's parameter is new.
inline bool is_new(const Growth& growth, const ParameterSpec& spec, int axis, std::int64_t i) {
  if (in(growth.mask.layers, spec.layer)) return true;
  const auto ends = [&](const char* name) { return spec.name.find(name) != std::string::npos; };
  const std::int64_t d = growth.to.attention.head_dim;
  const bool row = axis == 0;
  if (ends("embed_tokens") || ends("lm_head")) return !row && in(growth.mask.hidden, i);
  if (ends("q_proj") && row) return in(growth.query_heads, i / d);
  if (ends("k_proj") && row) return in(growth.key_heads, i / d);
  if (ends("v_proj") && row) return in(growth.value_heads, i / d);
  if (ends("lambda_proj") && row) return in(growth.mask.heads, i);
  if ((ends("gate_proj") || ends("up_proj")) && row) return in(growth.mask.feed_forward, i);
  if (ends("o_proj") && !row) return in(growth.mask.heads, i / growth.to.attention.value_dim());
  if (ends("down_proj") && !row) return in(growth.mask.feed_forward, i);
  if (ends("subln") || ends("act_fn") || ends("lambda_q") || ends("lambda_k")) return false;
  return in(growth.mask.hidden, i);
}

// Calls visit(old parameter or null, index into it, new parameter, index into it) for each element
// of the larger model; the order of old coordinates is kept.
inline void for_each_element(const Growth& growth, const ParameterStore& from,
                             const ParameterStore& to,
                             const std::function<void(const Parameter*, std::int64_t,
                                                      const Parameter&, std::int64_t)>& visit) {
  for (const Parameter& parameter : to.all()) {
    const ParameterSpec& spec = parameter.spec;
    const Parameter* old = nullptr;
    if (!in(growth.mask.layers, spec.layer)) {
      std::string name = spec.name;
      if (spec.layer >= 0) {
        std::int64_t before = 0;
        for (std::int64_t l = 0; l < spec.layer; ++l) before += in(growth.mask.layers, l) ? 1 : 0;
        const std::string number = std::to_string(spec.layer);
        name.replace(name.find("layers.") + 7, number.size(), std::to_string(spec.layer - before));
      }
      old = &from.at(name);
    }
    const std::int64_t columns = spec.is_matrix() ? spec.shape[1] : 1;
    std::int64_t next = 0;
    for (std::int64_t i = 0; i < spec.shape.elements(); ++i) {
      const bool fresh = is_new(growth, spec, 0, i / columns) ||
                         (spec.is_matrix() && is_new(growth, spec, 1, i % columns));
      visit(fresh ? nullptr : old, fresh ? 0 : next++, parameter, i);
    }
  }
}

inline double element(const Tensor& tensor, std::int64_t i) {
  return tensor.dtype() == DType::f64   ? tensor.data<double>()[i]
         : tensor.dtype() == DType::f32 ? tensor.data<float>()[i]
                                        : static_cast<float>(tensor.data<bfloat16>()[i]);
}

inline void set_element(const Tensor& tensor, std::int64_t i, double value) {
  if (tensor.dtype() == DType::f64) {
    tensor.data<double>()[i] = value;
  } else if (tensor.dtype() == DType::f32) {
    tensor.data<float>()[i] = static_cast<float>(value);
  } else {
    tensor.data<bfloat16>()[i] = bfloat16(static_cast<float>(value));
  }
}

// Both models. New elements are normal numbers, vectors' too. The old model's vectors leave their
// constants, so that a wrong one would show.
struct GrownModel {
  GrownModel(const Growth& description, DType compute, Recompute recompute = Recompute::none)
      : growth(description),
        from(growth.from, compute, recompute),
        to(growth.to, compute, recompute) {
    for (const Parameter& parameter : from.parameters.all()) {
      if (parameter.spec.is_matrix()) continue;
      const Philox random(2, RandomPurpose::test, parameter.spec.name);
      for (std::int64_t i = 0; i < parameter.value.elements(); ++i) {
        set_element(
            parameter.value, i,
            element(parameter.value, i) + 0.2 * random.normal(static_cast<std::uint64_t>(i)));
      }
    }
    for_each_element(
        growth, from.parameters, to.parameters,
        [](const Parameter* old, std::int64_t i, const Parameter& grown, std::int64_t j) {
          const Philox random(9, RandomPurpose::test, grown.spec.name);
          set_element(grown.value, j,
                      old != nullptr ? element(old->value, i)
                                     : random.normal(static_cast<std::uint64_t>(j)));
        });
  }

  void set_growth(double m) { to.decoder.set_growth(growth.mask, m); }

  Growth growth;
  TinyModel from;
  TinyModel to;
};

}  // namespace gda::test
